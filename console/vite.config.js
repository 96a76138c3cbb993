// Builds the console into files with fixed names: the node embeds and serves them (serving/proxy/src/admin/console).
// The same sources give the same bytes on every machine; `./dev test` compares them with what is committed.
import { fileURLToPath } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  plugins: [svelte({ compilerOptions: { dev: false } })],
  build: {
    outDir: process.env.CONSOLE_OUT ?? '../serving/proxy/console-dist',
    emptyOutDir: true,
    modulePreload: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    rollupOptions: {
      output: {
        entryFileNames: 'app.js',
        assetFileNames: 'app.[ext]',
        codeSplitting: false,
      },
    },
  },
});
