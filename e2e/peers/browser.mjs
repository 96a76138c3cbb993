// A real browser's visit: the Chromium of this machine, headless, driven by playwright-core.
//
//     browser.mjs URL [--insecure] [--host-resolver-rules 'MAP shop.test 127.0.0.1:8443'] [--wait-selector CSS]...
//                     [--screenshot FILE] [--user-agent TEXT] [--timeout MS] [--no-javascript]
//
// Loads the page, waits until each selector (at first app.py's #ws, #sse and #assets) has text, and prints
// {status, protocol, dom, resources, websockets, ws_over_h2, console_errors, failed_requests}. `protocol` is the main
// document's ("h2", "http/1.1"), `resources` has one for each URL, ws_over_h2 is null where no WebSocket opened.
// Exit 0: every selector had text; 1: not in time; 2: no page at all.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findBrowser, flags } from './chromium.mjs';
import { load } from './lifetime.mjs';

const { chromium } = load('playwright-core');

const { values: given, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: {
    insecure: { type: 'boolean', default: false },
    'host-resolver-rules': { type: 'string' },
    'wait-selector': { type: 'string', multiple: true, default: ['#ws', '#sse', '#assets'] },
    screenshot: { type: 'string' },
    'user-agent': { type: 'string' },
    timeout: { type: 'string', default: '20000' },
    'no-javascript': { type: 'boolean', default: false },
  },
});
const timeout = Number(given.timeout);

const args = flags();
if (given['host-resolver-rules']) args.push(`--host-resolver-rules=${given['host-resolver-rules']}`);

const told = {
  status: null, protocol: null, dom: {}, resources: {}, websockets: [], ws_over_h2: null,
  console_errors: [], failed_requests: [],
};

async function watch(page) {
  page.on('console', (message) => { if (message.type() === 'error') told.console_errors.push(message.text()); });
  page.on('pageerror', (error) => told.console_errors.push(String(error)));
  page.on('requestfailed', (request) => told.failed_requests.push(`${request.url()} ${request.failure()?.errorText}`));
  page.on('response', (response) => {
    if (response.status() >= 400) told.failed_requests.push(`${response.url()} ${response.status()}`);
  });
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Network.enable');
  devtools.on('Network.responseReceived', ({ response, type }) => {
    told.resources[response.url] = response.protocol;
    if (type === 'Document') told.protocol ??= response.protocol;
  });
  // Over HTTP/2 a WebSocket opens with an extended CONNECT, answered 200 (RFC 8441), and not with 101.
  devtools.on('Network.webSocketHandshakeResponseReceived', ({ response }) => {
    told.websockets.push(response.status);
    told.ws_over_h2 = response.status === 200;
  });
}

const text = (page, selector) => page.evaluate(
  (wanted) => document.querySelector(wanted)?.textContent.trim() ?? null, selector);

const fill = (page, selectors) => page.waitForFunction(
  (wanted) => wanted.every((one) => document.querySelector(one)?.textContent.trim()), selectors, { timeout },
).then(() => true, () => false);

// Nothing in the page can look then: we do, from time to time. While it goes elsewhere there is no page to look at.
async function appear(page, selectors) {
  for (const end = Date.now() + timeout; Date.now() < end;) {
    const found = await Promise.all(selectors.map((selector) => text(page, selector))).catch(() => []);
    if (found.length && found.every(Boolean)) return true;
    await new Promise((done) => { setTimeout(done, 100); });
  }
  return false;
}

async function visit(page) {
  await watch(page);
  const response = await page.goto(url, { waitUntil: 'domcontentloaded', timeout });
  told.status = response?.status() ?? null;
  const selectors = given['wait-selector'];
  const complete = given['no-javascript'] ? await appear(page, selectors) : await fill(page, selectors);
  for (const selector of selectors) told.dom[selector] = await text(page, selector);
  if (given.screenshot) await page.screenshot({ path: given.screenshot });
  return complete;
}

async function main() {
  // An own, empty profile: nothing cached from one visit to the next.
  const profile = mkdtempSync(join(tmpdir(), 'sunbeam-browser-'));
  let code = 2;
  try {
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: findBrowser(), headless: true, args, timeout,
      ignoreHTTPSErrors: given.insecure, userAgent: given['user-agent'],
      javaScriptEnabled: !given['no-javascript'],
    });
    try {
      code = await visit(context.pages()[0] ?? await context.newPage()) ? 0 : 1;
    } finally {
      await context.close();
    }
  } catch (error) {
    told.error = String(error);
  } finally {
    rmSync(profile, { recursive: true, force: true });
  }
  console.log(JSON.stringify(told));
  return code;
}

if (!url) {
  console.error('usage: browser.mjs URL [--insecure] [--host-resolver-rules RULES] [--wait-selector CSS]...');
  process.exit(2);
}
process.exitCode = await main();
