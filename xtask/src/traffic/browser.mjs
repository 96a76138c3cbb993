// SPDX-License-Identifier: Apache-2.0
// One visit of a real browser to the site of `cargo xtask traffic`: browser.mjs URL VISIT
// It clicks, types and reads, a little faster than people do, and takes no longer than about twenty seconds.
import { accessSync, constants } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';

const { chromium, devices } = createRequire(new URL('../../../.dev/node/', import.meta.url))('playwright-core');

const [url, name] = process.argv.slice(2);
const phone = devices['Pixel 7'];
const tablet = devices['Galaxy Tab S4 landscape'];

const pause = (least, most) => new Promise((done) => setTimeout(done, least + Math.random() * (most - least)));

/** Follows the link with this number among those of the page's text. */
async function follow(page, number) {
  const links = page.locator('main a[href]');
  const count = await links.count();
  if (count === 0) return;
  await links.nth(number % count).click();
  await page.waitForLoadState('load');
}

async function navigate(page, text) {
  await page.locator('nav a', { hasText: text }).click();
  await page.waitForLoadState('load');
}

async function read(page, articles) {
  await page.goto(url);
  for (let number = 0; number < articles; number += 1) {
    await pause(1200, 3500);
    await page.mouse.wheel(0, 900);
    await follow(page, number * 3 + 1);
  }
  await pause(1000, 2000);
}

async function search(page) {
  await page.goto(url);
  await pause(800, 2000);
  await navigate(page, 'Search');
  for (const words of ['oak table', "o'brien", '50% wool & linen', 'select a lamp']) {
    await page.locator('#q').fill(words);
    await page.keyboard.press('Enter');
    await page.waitForLoadState('load');
    await pause(1200, 2600);
  }
  await follow(page, 2);
}

async function signIn(page) {
  await page.goto(url);
  await navigate(page, 'Sign in');
  for (const password of ['horse-battery', 'correct-horse-battery']) {
    await pause(1500, 3000);
    await page.locator('[name=name]').fill('anna');
    await page.locator('[name=password]').fill(password);
    await page.locator('main button').click();
    await page.waitForLoadState('load');
  }
  await pause(1000, 2000);
  await navigate(page, 'Articles');
  await pause(1000, 2000);
  await page.goto(`${url}/account`);
}

async function write(page) {
  await page.goto(`${url}/about`);
  await pause(1000, 2000);
  await navigate(page, 'Contact');
  await page.locator('[name=email]').fill('anna@example.org');
  await page.locator('[name=message]').pressSequentially('The lamp -- is its cable <long>?', { delay: 120 });
  await page.locator('main button').click();
  await page.waitForLoadState('load');
}

async function look(page) {
  await page.goto(url);
  await navigate(page, 'Gallery');
  await pause(2000, 3000);
  for (let number = 0; number < 5; number += 1) {
    await page.goto(`${url}/images/gallery/0${number}-large.jpg`);
    await pause(700, 1500);
    await page.goBack();
  }
}

async function shop(page) {
  await page.goto(url);
  for (const _ of [1, 2, 3]) {
    await navigate(page, 'Shop');
    await page.waitForLoadState('networkidle');
    await pause(1500, 3000);
  }
}

async function reload(page) {
  await page.goto(`${url}/articles/baskets`);
  for (let number = 0; number < 12; number += 1) {
    await pause(500, 1500);
    await page.reload();
  }
}

async function wander(page) {
  await page.goto(url);
  for (let number = 0; number < 5; number += 1) {
    await pause(600, 1500);
    await follow(page, number + 2);
    await pause(500, 1200);
    await page.goBack();
  }
}

async function openTabs(page) {
  await page.goto(`${url}/articles/`);
  await pause(1000, 2000);
  const links = page.locator('main a[href]');
  for (let number = 0; number < 8; number += 1) {
    await links.nth(number * 2).click({ modifiers: ['Control'] });
    await pause(100, 400);
  }
  await pause(3000, 5000);
}

/** Old bookmarks and mistyped addresses between pages that are there. */
async function getLost(page) {
  for (const path of ['/artikles/', '/articles/', '/articles/summer-sale-2019', '/articles/baskets', '/impressum']) {
    await page.goto(url + path);
    await pause(1000, 2000);
    await follow(page, 1);
    await pause(800, 1500);
  }
}

async function watch(page) {
  await page.goto(url);
  await pause(800, 1500);
  await page.evaluate(() => {
    document.querySelector('main').insertAdjacentHTML('beforeend', '<video src="/media/film.mp4" preload=auto></video>');
  });
  await pause(3000, 4000);
  await page.evaluate(async () => {
    for (let first = 0; first < 1500000; first += 250000) {
      await fetch('/media/film.mp4', { headers: { range: `bytes=${first}-${first + 249999}` } });
      await new Promise((done) => setTimeout(done, 800));
    }
  });
}

const visits = {
  reader: [{ locale: 'en-US' }, (page) => read(page, 5)],
  'reader-german': [{ locale: 'de-DE' }, (page) => read(page, 4)],
  'reader-phone': [{ ...phone, locale: 'fr-FR' }, (page) => read(page, 5)],
  'reader-tablet': [{ ...tablet, locale: 'en-GB' }, (page) => read(page, 4)],
  'reader-by-search': [{ locale: 'es-ES' }, async (page) => {
    await page.goto(`${url}/articles/good-knives`, { referer: 'https://www.google.com/' });
    await pause(2000, 3000);
    await read(page, 3);
  }],
  searcher: [{ locale: 'en-US' }, search],
  'searcher-phone': [{ ...phone, locale: 'pt-BR' }, search],
  'account-owner': [{ locale: 'en-US' }, signIn],
  'letter-writer': [{ locale: 'it-IT' }, write],
  viewer: [{ locale: 'en-GB' }, look],
  shopper: [{ locale: 'en-US' }, shop],
  'shopper-phone': [{ ...phone, locale: 'ja-JP' }, shop],
  reloader: [{ locale: 'en-US' }, reload],
  'back-and-forth': [{ locale: 'nl-NL' }, wander],
  'tab-opener': [{ locale: 'en-US' }, openTabs],
  lost: [{ locale: 'de-AT' }, getLost],
  'without-scripts': [{ locale: 'en-US', javaScriptEnabled: false }, (page) => read(page, 4)],
  'film-watcher': [{ locale: 'en-US' }, watch],
};

function findBrowser() {
  for (const place of (process.env.PATH ?? '').split(delimiter)) {
    for (const program of ['chromium', 'chromium-browser', 'google-chrome']) {
      try {
        accessSync(join(place, program), constants.X_OK);
        return join(place, program);
      } catch { /* the next one */ }
    }
  }
  throw new Error('no Chromium in PATH');
}

const [settings, visit] = visits[name];
const args = ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--disable-dev-shm-usage'];
if (process.getuid?.() === 0) args.push('--no-sandbox');
const browser = await chromium.launch({ executablePath: findBrowser(), args });
// Without a screen it would call itself HeadlessChrome, which no visitor does.
const own = `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${browser.version().split('.')[0]}.0.0.0 Safari/537.36`;
// Playwright's own way to set a locale would send the tag alone, unlike a browser that somebody set up.
const { locale, ...rest } = settings;
const context = await browser.newContext({
  userAgent: own,
  ignoreHTTPSErrors: true,
  extraHTTPHeaders: { 'Accept-Language': `${locale},${locale.split('-')[0]};q=0.9` },
  ...rest,
});
try {
  await visit(await context.newPage());
} finally {
  await browser.close();
}
