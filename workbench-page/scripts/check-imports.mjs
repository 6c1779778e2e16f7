/** Fails on import cycles. Type-only imports count too: they tie modules together just as much. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import ts from "typescript";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const FOLDERS = ["src", "mock", "test"];

/** Absolute paths of all TypeScript files below a folder. */
function sourceFiles(folder) {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(folder, name));
}

/** The project files that a file imports. Throws if a relative import resolves to nothing. */
function importsOf(file) {
  const { importedFiles } = ts.preProcessFile(readFileSync(file, "utf8"), true, true);
  return importedFiles
    .map(({ fileName }) => fileName)
    .filter((name) => name.startsWith(".") && !/\.(css|json|svg)$/.test(name))
    .map((name) => {
      const base = resolve(dirname(file), name);
      const path = [base, `${base}.ts`, `${base}.tsx`].find((one) => /\.tsx?$/.test(one) && existsSync(one));
      if (!path) throw new Error(`${relative(ROOT, file)}: cannot resolve ${name}`);
      return path;
    });
}

/** Import cycles found by depth-first search; each list ends with the file it starts with. */
function findCycles(graph) {
  const done = new Set();
  const path = [];
  const cycles = [];
  const visit = (file) => {
    const index = path.indexOf(file);
    if (index >= 0) return void cycles.push([...path.slice(index), file]);
    if (done.has(file)) return;
    path.push(file);
    (graph.get(file) ?? []).forEach(visit);
    path.pop();
    done.add(file);
  };
  [...graph.keys()].forEach(visit);
  return cycles;
}

const files = FOLDERS.flatMap((folder) => sourceFiles(join(ROOT, folder)));
const graph = new Map(files.map((file) => [file, importsOf(file)]));
const cycles = findCycles(graph);
for (const cycle of cycles) console.error(`import cycle: ${cycle.map((file) => relative(ROOT, file)).join(" -> ")}`);
if (cycles.length) process.exit(1);
console.log(`${files.length} modules, no import cycle`);
