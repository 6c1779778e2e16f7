import { defineConfig } from "vite";

import { mock } from "./mock/plugin";

// `npm run dev` uses the mock server; `SAMTAILOR=http://127.0.0.1:8765 npm run dev` uses a running `samtailor ui`
const server = process.env.SAMTAILOR;

export default defineConfig({
  plugins: server ? [] : [mock()],
  server: server ? { proxy: { "/api": { target: server, changeOrigin: true } } } : {},
  build: {
    outDir: "../src/samtailor/workbench/page",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the Content-Security-Policy allows no scripts or styles from data: URLs
  },
});
