/** Writes profiles: the whole ones to `build/profiles`, top lists beside the figures, with a sentence for each that a human writes and that stays. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { topOf, type CpuProfile } from './profile.ts';

const entries = 25;
const mark = 'What limits it: ';

export function profileWriter(scenario: string): {
  write(processName: string, profile: CpuProfile): void;
  /** Writes the report. Answers with its path. */
  end(): string;
} {
  const file = join(import.meta.dirname, 'results', `${scenario}.profile.md`);
  const folder = join(import.meta.dirname, '../build/profiles');
  const before = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const sections: string[] = [];
  return {
    write(processName, profile) {
      mkdirSync(folder, { recursive: true });
      const whole = `${scenario}-${processName.replaceAll(' ', '-')}.cpuprofile`;
      writeFileSync(join(folder, whole), JSON.stringify(profile));
      const { idleShare, top } = topOf(profile, entries);
      const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
      sections.push(
        [
          `## ${processName}\n`,
          `${mark}${sentenceOf(before, processName)}\n`,
          `Idle ${percent(idleShare)} of the time. Own time of functions, as shares of the rest (\`build/profiles/${whole}\` is the whole):\n`,
          '```text',
          ...top.map(({ name, share }) => `${percent(share).padStart(7)}  ${name}`),
          '```',
        ].join('\n'),
      );
    },
    end() {
      writeFileSync(
        file,
        `# Where the time goes: ${scenario}\n\nBy \`npm run bench -- ${scenario} --profile\`.\n\n${sections.join('\n\n')}\n`,
      );
      return file;
    },
  };
}

function sentenceOf(report: string, processName: string): string {
  const section = report.split(/^## /m).find(text => text.startsWith(`${processName}\n`));
  const line = section?.split('\n').find(text => text.startsWith(mark));
  return line?.slice(mark.length) ?? '(not written yet)';
}
