import { defineConfig } from "vite";

import { mock } from "./mock/plugin";

// `npm run dev` answers /api from the mock; SAMTAILOR=http://127.0.0.1:8000 npm run dev asks a running `samtailor ui`.
const server = process.env.SAMTAILOR;

export default defineConfig({
  plugins: server ? [] : [mock()],
  server: server ? { proxy: { "/api": { target: server, changeOrigin: true } } } : {},
  build: {
    outDir: "../src/samtailor/workbench/page",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // a data: URL would need a hole in the Content-Security-Policy
  },
});
