// An operator at the console: a real Chromium that logs in by a link, goes through every view, and is attacked meanwhile.
//
//     console.mjs ORIGIN LINK --request ID --site ORIGIN [--screenshots FOLDER]
//
// Prints what was seen, as JSON; the test judges it. Exit 0: it came to the end.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { findBrowser, flags } from './chromium.mjs';
import { load } from './lifetime.mjs';

const { chromium } = load('playwright-core');
const axe = readFileSync(createRequire(new URL('../../.dev/node/', import.meta.url)).resolve('axe-core/axe.min.js'), 'utf8');
const { values: given, positionals: [origin, link] } = parseArgs({
  allowPositionals: true,
  options: { request: { type: 'string' }, site: { type: 'string' }, screenshots: { type: 'string' } },
});
const timeout = 15_000;
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 900 };

let asking = false;
const told = { errors: [], refused: [], csp: [], foreign: [], views: {} };

function watch(page) {
  page.on('console', (message) => {
    // Those have no address in their text: `refused` has.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) told.errors.push(message.text());
  });
  page.on('response', (response) => {
    if (response.status() >= 400 && !asking) told.refused.push(`${response.status()} ${new URL(response.url()).pathname}`);
  });
  page.on('pageerror', (error) => told.errors.push(String(error)));
  page.on('request', (request) => { if (!request.url().startsWith(origin) && !request.url().startsWith('data:')) told.foreign.push(request.url()); });
}

const listen = () => {
  window.violations = [];
  document.addEventListener('securitypolicyviolation', (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
};

/** What axe finds that is serious, in short. */
async function serious(page) {
  // Through the developer tools: the page itself may not evaluate text.
  if (!await page.evaluate(() => 'axe' in window)) await page.evaluate(`${axe};0`);
  return page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ['violations'] });
    return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
  });
}

/** The controls that Tab does not come to. */
async function unreachable(page) {
  const all = await page.evaluate(() => {
    const shown = [...document.querySelectorAll('a[href], button, input, select, textarea, [tabindex="0"]')]
      .filter((one) => !one.disabled && one.getClientRects().length);
    shown.forEach((one, index) => { one.dataset.tab = index; });
    document.activeElement?.blur();
    return shown.length;
  });
  await page.evaluate(() => { document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex'); });
  const seen = new Set();
  for (let press = 0; press < all + 10 && seen.size < all; press += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => document.activeElement?.dataset.tab ?? null);
    if (at !== null) seen.add(at);
  }
  const missed = await page.evaluate((reached) => [...document.querySelectorAll('[data-tab]')]
    .filter((one) => !reached.includes(one.dataset.tab)).map((one) => one.outerHTML.slice(0, 160)), [...seen]);
  return { controls: all, missed };
}

async function look(page, name, path) {
  await page.setViewportSize(DESK);
  await page.evaluate((hash) => { location.hash = hash; }, path);
  await page.waitForFunction(() => document.querySelector('main h1') && !document.querySelector('main')?.textContent.includes('Loading…'), null, { timeout });
  const seen = { text: await page.textContent('main'), focused: await page.evaluate(() => document.activeElement?.id) };
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme });
    seen[scheme] = await serious(page);
    if (given.screenshots) await page.screenshot({ path: `${given.screenshots}/${name}-${scheme}.png`, fullPage: true });
  }
  seen.keyboard = await unreachable(page);
  await page.setViewportSize(PHONE);
  seen.phone = await serious(page);
  seen.sideways = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (given.screenshots) await page.screenshot({ path: `${given.screenshots}/${name}-phone.png`, fullPage: true });
  told.views[name] = seen;
}

/** Somebody who visits the site, attacks it, and goes on: the statuses. */
async function visits(browser) {
  const page = await (await browser.newContext()).newPage();
  const seen = [];
  for (const path of ['/welcome', '/list?q=1%27+UNION+SELECT+password+FROM+users--+-', '/goodbye']) {
    seen.push((await page.goto(`${given.site}${path}`)).status());
  }
  await page.close();
  return seen;
}

/** Numbers as the page shows them, each beside what the node told the page of it: traffic goes on meanwhile. */
async function figures(page) {
  const number = (value) => new Intl.NumberFormat('en', { maximumFractionDigits: 2 }).format(value);
  const few = (value) => new Intl.NumberFormat('en', { maximumSignificantDigits: 3 }).format(value);
  const sum = (values) => values.reduce((all, one) => all + one, 0);
  const pairs = {};
  const open = async (view, ...paths) => {
    await page.evaluate(() => { location.hash = '#/changes'; });
    await page.waitForSelector('main[data-view=changes]', { timeout });
    const answers = paths.map((path) => page.waitForResponse((answer) => answer.url().endsWith(path), { timeout }));
    await page.evaluate((hash) => { location.hash = hash; }, `#/${view}`);
    return Promise.all(answers.map(async (answer) => (await answer).json()));
  };
  // What stands there once it is what was told, and otherwise at the end of some seconds.
  const shows = async (name, selector, want) => {
    const at = page.locator(selector).first();
    let shown = null;
    for (let turn = 0; turn < 40 && shown !== want; turn += 1) {
      shown = (await at.textContent({ timeout })).trim();
      if (shown !== want) await page.waitForTimeout(25);
    }
    pairs[name] = [shown, want];
  };
  const tile = (name) => `.tiles div:has(dt:text-is("${name}")) dd`;
  const row = (name, cell) => `tr:has(td:first-child:text-is("${name}")) td:nth-child(${cell})`;

  const [stats] = await open('overview', '/stats');
  await shows('requests', tile('Requests since the start'), number(stats.requests_total));
  const [again] = await open('overview', '/stats');
  await shows('added', tile('Added latency, median / 99 %'), `${few(again.added_latency_ms.p50)} ms / ${few(again.added_latency_ms.p99)} ms`);
  const [third] = await open('overview', '/stats');
  await shows('backend', tile('Backend latency, median / 99 %'), `${few(third.backend_latency_ms.p50)} ms / ${few(third.backend_latency_ms.p99)} ms`);
  const [traffic, top] = await open('overview', '/traffic', '/top');
  for (const layer of ['waf', 'scanner']) {
    await shows(`blocked by ${layer}`, row(layer, 2), number(sum(traffic.blocked[layer])));
  }
  await shows('reason', row(top.reasons[0].name, 2), number(top.reasons[0].blocked));
  await shows('network', row(top.networks[0].name, 2), number(top.networks[0].blocked));
  const [layers] = await open('budgets', '/layers');
  const proof = layers.layers.find(({ layer }) => layer === 'scanner').proof;
  await shows('missing', '[data-layer=scanner] dt:text-is("Missing") + dd', `${number(proof.people_missing)} more people, none of them doubted, and it is proven`);
  const [blocks] = await open('blocks', '/blocklist');
  await shows('blocks', 'main p.dim', `${number(blocks.total)} of ${number(blocks.total)}`);
  return pairs;
}

/** Another application on the same host: to a browser the same site, so that cookies are sent. */
async function attack(context) {
  const server = createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end('<!doctype html><title>x</title>'));
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const body = JSON.stringify({ ip: '198.51.100.66' });
  const sent = await page.evaluate(async ([target, text]) => {
    const call = (more) => fetch(`${target}/api/v1/blocklist`, { method: 'POST', body: text, credentials: 'include', ...more })
      .then((answer) => answer.type, (error) => String(error.name));
    return { plain: await call({ mode: 'no-cors' }), header: await call({ headers: { 'X-Sunbeam-CSRF': '1' } }), read: await fetch(`${target}/api/v1/status`, { credentials: 'include' }).then(() => 'read', (error) => error.name) };
  }, [origin, body]);
  // An error page of the browser is loaded, too.
  await page.evaluate((target) => new Promise((loaded) => {
    const frame = document.createElement('iframe');
    frame.onload = loaded;
    frame.src = `${target}/console/`;
    document.body.append(frame);
  }), origin);
  sent.framed = page.frames().length === 2 && /sunbeam/i.test(await page.frames()[1].content());
  await page.close();
  server.close();
  return sent;
}

async function main() {
  const browser = await chromium.launch({ executablePath: findBrowser(), headless: true, args: [...flags(), `--host-resolver-rules=MAP ${new URL(given.site).hostname} 127.0.0.1`], timeout });
  try {
    const context = await browser.newContext({ viewport: DESK });
    const page = await context.newPage();
    await page.addInitScript(listen);
    watch(page);
    await page.goto(`${origin}/console/`);
    await page.waitForSelector('main.gate pre', { timeout });
    told.without = { text: await page.textContent('main'), light: await serious(page) };

    await page.goto(link);
    await page.waitForSelector('nav', { timeout });
    told.inside = { url: page.url(), title: await page.title(), text: await page.textContent('header') };
    told.cookies = (await context.cookies(`${origin}/api/`)).map(({ httpOnly, sameSite, path, name }) => ({ httpOnly, sameSite, path, name: name.replace(/\d+$/, 'PORT') }));

    for (const [name, path] of [
      ['overview', '#/overview'], ['events', '#/events'], ['event', `#/events/${given.request}`], ['budgets', '#/budgets'], ['blocks', '#/blocks'],
      ['exceptions', '#/exceptions'], ['models', '#/models'], ['rules', '#/rules'], ['node', '#/node'], ['changes', '#/changes'],
    ]) await look(page, name, path);
    await page.setViewportSize(DESK);
    told.visits = await visits(browser);
    told.figures = await figures(page);

    // From the list to the detail, by the keyboard, and a label.
    await page.evaluate(() => { location.hash = '#/events'; });
    const row = page.locator(`tr[data-id="${given.request}"]`);
    await row.waitFor({ timeout });
    told.row = await row.textContent();
    await row.locator('a').focus();
    await page.keyboard.press('Enter');
    await page.waitForSelector('[data-reason]', { timeout });
    told.reason = await page.textContent('[data-reason]');
    await page.getByRole('button', { name: 'An attack' }).focus();
    await page.keyboard.press('Enter');
    told.labelled = await page.locator('.say', { hasText: 'labelled' }).textContent({ timeout });

    // A filter, a block and its undo.
    await page.evaluate(() => { location.hash = '#/events'; });
    await page.getByLabel('Path').fill('/nothing-like-it');
    await page.getByRole('button', { name: 'Search' }).click();
    told.filtered = await page.locator('main [role=status] p', { hasText: 'Nothing' }).textContent({ timeout });
    await page.evaluate(() => { location.hash = '#/blocks'; });
    await page.getByLabel('Address or range').fill('198.51.100.7');
    await page.getByRole('button', { name: 'Add' }).click();
    await page.getByRole('button', { name: 'Unblock 198.51.100.7' }).waitFor({ timeout });
    told.blocked = await page.textContent('.say');
    await page.getByRole('button', { name: 'Unblock 198.51.100.7' }).click();
    told.unblocked = await page.locator('.say', { hasText: 'unblocked' }).textContent({ timeout });

    // Without the half that the page keeps, the cookie is worth nothing.
    asking = true;
    told.no_proof = await page.evaluate(async () => {
      const call = (method, headers) => fetch('/api/v1/blocklist', { method, headers, body: method === 'POST' ? '{"ip":"198.51.100.66"}' : undefined }).then((answer) => answer.status);
      return [await call('GET', {}), await call('POST', {}), await call('POST', { 'X-Sunbeam-CSRF': 'guess' })];
    });
    asking = false;
    told.attack = await attack(context);
    told.csp = await page.evaluate(() => window.violations);

    // The link is spent.
    const other = await (await browser.newContext()).newPage();
    await other.goto(link);
    await other.waitForSelector('main.gate pre', { timeout });
    told.again = await other.textContent('main');
    // Two pages in one browser; the second needs no link.
    const second = await context.newPage();
    await second.goto(`${origin}/console/#/node`);
    told.second = await second.locator('h1').first().textContent({ timeout });
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.waitForSelector('main.gate pre', { timeout });
    told.out = await page.textContent('main');
    await page.reload();
    await page.waitForSelector('main.gate pre', { timeout });
    told.done = true;
  } catch (error) {
    told.error = String(error.stack);
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify(told));
  return told.done ? 0 : 1;
}

process.exitCode = await main();
