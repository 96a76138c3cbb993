// An operator who changes something at the console, with a real Chromium, by clicks that are counted.
//
//     console_changes.mjs ORIGIN LINK allow ID
//     console_changes.mjs ORIGIN LINK undo
//     console_changes.mjs ORIGIN LINK budgets LAYER
//
// Prints what was seen, as JSON; the test judges it. Exit 0: it came to the end.
import { findBrowser, flags } from './chromium.mjs';
import { load } from './lifetime.mjs';

const { chromium } = load('playwright-core');
const [origin, link, what, name] = process.argv.slice(2);
const timeout = 15_000;
const told = { errors: [] };

const text = async (page, selector) => (await page.locator(selector).first().textContent({ timeout })).trim();

/** What a customer's id leads to: why, what an exception would do, the exception, its list, its end. */
async function allow(page) {
  let clicks = 0;
  const click = async (button) => { clicks += 1; await page.getByRole('button', { name: button, exact: true }).click({ timeout }); };
  // Pasted from the customer's mail.
  await page.getByLabel('Request id').fill(name);
  await click('Why?');
  told.reason = await text(page, '[data-reason]');
  told.why = await text(page, 'main');
  await click('Show what an exception would do');
  told.preview = await text(page, '[data-preview]');
  if (await page.getByRole('button', { name: 'Allow', exact: true }).count() === 0) {
    told.offered = await page.locator('main button').allTextContents();
    return;
  }
  await click('Allow');
  told.allowed = await text(page, '.say:has-text("an exception is made")');
  told.clicks = clicks;
  await page.evaluate(() => { location.hash = '#/exceptions'; });
  told.listed = await text(page, '[data-exception]');
}

/** Takes back what `allow` made, by the keyboard. */
async function undo(page) {
  await page.evaluate(() => { location.hash = '#/exceptions'; });
  await page.getByRole('button', { name: /^Remove exception/ }).focus({ timeout });
  await page.keyboard.press('Enter');
  told.removed = await text(page, '.say:has-text("removed")');
}

/** A layer's budget, whom it doubted, and a switch of it: looked at, left, asked for again, confirmed. */
async function budgets(page) {
  const section = `[data-layer=${name}]`;
  await page.evaluate(() => { location.hash = '#/budgets'; });
  await page.locator(`${section} [data-human]`).first().waitFor({ timeout });
  told.section = await text(page, section);
  told.bar = await page.locator(`${section} svg.bar`).getAttribute('aria-label');
  const box = async (part) => page.locator(`${section} svg.bar ${part}`).evaluate((one) => one.getBBox().x);
  told.drawn = { from: await box('.span'), seen: await box('.seen'), budget: await box('.budget') };
  told.human = await page.locator(`${section} [data-human]`).first().getAttribute('data-human');
  const press = (button) => page.getByRole('button', { name: button, exact: true }).click({ timeout });
  await press(`${name} to enforce…`);
  told.would = await text(page, '.say:has-text("would be in mode enforce")');
  await press('Leave it');
  told.left = await text(page, '.say:has-text("Nothing was changed")');
  await press(`${name} to enforce…`);
  await press(`Do it: ${name} to enforce`);
  told.done = await text(page, '.say:has-text("is in mode enforce")');
  await page.getByLabel('Switch on the route').fill('shop');
  await press(`${name} on shop to observe…`);
  await press(`Do it: ${name} on shop to observe`);
  await page.locator(`${section} td:text-is("shop")`).waitFor({ timeout });
  await page.getByRole('button', { name: `${name} on shop to enforce, as everywhere` }).click({ timeout });
  await press(`Do it: ${name} on shop to enforce`);
  await page.locator(`${section} td:text-is("shop")`).waitFor({ state: 'detached', timeout });
  await page.locator(`${section} [data-human] a`).first().click({ timeout });
  await page.waitForSelector('[data-reason]', { timeout });
  told.event = await text(page, 'main');
}

async function main() {
  const browser = await chromium.launch({ executablePath: findBrowser(), headless: true, args: flags(), timeout });
  try {
    const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } })).newPage();
    page.on('pageerror', (error) => told.errors.push(String(error)));
    page.on('console', (message) => { if (message.type() === 'error') told.errors.push(message.text()); });
    await page.goto(link);
    await page.waitForSelector('nav', { timeout });
    await { allow, undo, budgets }[what](page);
    told.done_all = true;
  } catch (error) {
    told.error = String(error.stack);
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify({ ...told, origin }));
  return told.done_all ? 0 : 1;
}

process.exitCode = await main();
