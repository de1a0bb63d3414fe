/** Changes single values in a settings text and leaves the rest as its author wrote it, comments included. Pure. */
import { applyEdits, modify, parse, type JSONPath } from 'jsonc-parser';

interface Document {
  componentInstances?: { id: string; packageName: string; messagePublisher?: { packageName: string } }[];
  nodePackages?: { name: string; version: string }[];
}

/**
 * Sets the version of a package wherever instances use it; for a host package, where `nodePackages` lists it.
 * Resolves the ids of the instances that use it.
 */
export function setPackageVersion(
  text: string,
  packageName: string,
  version: string,
): { text: string; instances: string[] } {
  const document = parse(text, [], { allowTrailingComma: true }) as Document;
  const instances = new Set<string>();
  let edited = text;
  const set = (path: JSONPath) => {
    edited = applyEdits(
      edited,
      modify(edited, path, version, { formattingOptions: { insertSpaces: true, tabSize: 2 } }),
    );
  };
  document.componentInstances?.forEach((instance, index) => {
    if (instance.packageName === packageName) {
      set(['componentInstances', index, 'packageVersion']);
      instances.add(instance.id);
    }
    if (instance.messagePublisher?.packageName === packageName) {
      set(['componentInstances', index, 'messagePublisher', 'packageVersion']);
      instances.add(instance.id);
    }
  });
  const listed = document.nodePackages?.findIndex(reference => reference.name === packageName) ?? -1;
  if (listed >= 0) {
    set(['nodePackages', listed, 'version']);
    // Its file is the old version's; the bytes of the new one are in the catalog.
    edited = applyEdits(edited, modify(edited, ['nodePackages', listed, 'packagePath'], undefined, {}));
  }
  return { text: edited, instances: [...instances] };
}

/** The document as plain JSON for programs: as it is if it is that, else without comments and trailing commas. */
export function asPlainJson(text: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch {
    return `${JSON.stringify(parse(text, [], { allowTrailingComma: true }), null, 2)}\n`; // valid, but with comments
  }
}
