import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { type Plugin, defineConfig } from "vite";

import { mock } from "./mock/plugin";

// `npm run dev` uses the mock server; `SAMTAILOR=http://127.0.0.1:8765 npm run dev` uses a running `samtailor ui`
const server = process.env.SAMTAILOR;

/** Writes a digest of the sources into the page; tests/unit/test_workbench_page.py checks that the page is up to date. */
function sourceDigest(): Plugin {
  return {
    name: "source-digest",
    apply: "build",
    transformIndexHtml: () => [{ tag: "meta", attrs: { name: "source-digest", content: digestSources() }, injectTo: "head" }],
  };
}

function digestSources(): string {
  const root = import.meta.dirname;
  const sources = readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1).replaceAll("\\", "/"));
  const hash = createHash("sha256");
  for (const name of [...sources, "index.html", "package-lock.json", "vite.config.ts"].sort()) {
    hash.update(`${name}\n${readFileSync(join(root, name), "utf8").replaceAll("\r\n", "\n")}\n`);
  }
  return hash.digest("hex");
}

export default defineConfig({
  plugins: [sourceDigest(), ...(server ? [] : [mock()])],
  server: server ? { proxy: { "/api": { target: server, changeOrigin: true } } } : {},
  build: {
    outDir: "../src/samtailor/workbench/page",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the Content-Security-Policy allows no scripts or styles from data: URLs
  },
});
