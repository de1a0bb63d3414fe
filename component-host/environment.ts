/** The instance's `env`, applied to this process before its packages are loaded. */

const reserved = /^HOLDFAST_/;

/**
 * Makes a function that sets variables in `target`, and takes back first what its earlier calls set, so that every
 * configuration starts from the same ground. Names that begin with HOLDFAST_ belong to the agent and are left alone.
 */
export function createEnvironment(
  target: Record<string, string | undefined>,
): (variables: Readonly<Record<string, string>>) => void {
  const before = new Map<string, string | undefined>();
  return variables => {
    for (const [name, value] of before) assign(target, name, value);
    before.clear();
    for (const [name, value] of Object.entries(variables)) {
      if (reserved.test(name)) continue;
      before.set(name, target[name]);
      assign(target, name, value);
    }
  };
}

function assign(target: Record<string, string | undefined>, name: string, value: string | undefined): void {
  if (value === undefined) delete target[name];
  else target[name] = value;
}
