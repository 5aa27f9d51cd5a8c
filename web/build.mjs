// Builds the page into dist/, which is committed: the Rust build embeds it and needs no Node.
//
//   npm ci && npm run build      writes dist/
//   npm run check                checks the types, and that dist/ is what the sources build
//
// The result depends on the sources and on package-lock.json only. Names of assets contain a hash of their
// content, so that browsers can keep them for ever.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { build } from 'esbuild';

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, 'dist');
// What the page may cost over the wire, compressed.
const LIMIT = 150 * 1024;
// Packages whose code is part of the page.
const BUNDLED = ['preact', '@preact/signals', '@preact/signals-core', 'uplot'];

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const read = (...path) => readFileSync(join(root, ...path), 'utf8');

/** The files that the page is built from, in order. tests/host/dashboard.rs computes the same digest. */
function sources(directory = '') {
    const names = readdirSync(join(root, directory)).sort();
    return names.flatMap((name) => {
        const path = directory ? `${directory}/${name}` : name;
        if (!directory && ['dist', 'node_modules', 'tests'].includes(name)) return [];
        return statSync(join(root, path)).isDirectory() ? sources(path) : [path];
    });
}

function digest() {
    const lines = sources().map((path) => `${sha256(read(path))}  ${path}\n`);
    return sha256(lines.sort().join(''));
}

function licences() {
    return BUNDLED.map((name) => {
        const { version } = JSON.parse(read('node_modules', name, 'package.json'));
        return `${name} ${version}\n\n${read('node_modules', name, 'LICENSE').trim()}\n`;
    }).join('\n\n');
}

/** All files of dist/: name to text. */
async function files() {
    const result = await build({
        absWorkingDir: root,
        entryPoints: { app: 'src/main.tsx', style: 'src/style.css' },
        outdir: 'dist',
        bundle: true,
        minify: true,
        format: 'esm',
        target: ['es2022'],
        jsx: 'automatic',
        jsxImportSource: 'preact',
        legalComments: 'none',
        charset: 'utf8',
        write: false,
        logLevel: 'warning',
    });
    const hashed = (stem, extension, text) => `${stem}-${sha256(text).slice(0, 12)}.${extension}`;
    const outputs = new Map(result.outputFiles.map((file) => [file.path.split('.').pop(), file.text]));
    const icon = read('src', 'icon.svg');
    const names = {
        script: hashed('app', 'js', outputs.get('js')),
        style: hashed('app', 'css', outputs.get('css')),
        icon: hashed('icon', 'svg', icon),
    };
    const page = read('index.html').replace(/\{(script|style|icon)\}/g, (_, name) => names[name]);
    return new Map([
        ['index.html', page],
        [names.script, outputs.get('js')],
        [names.style, outputs.get('css')],
        [names.icon, icon],
        ['licenses.txt', licences()],
        ['sources.sha256', `${digest()}\n`],
    ]);
}

const built = await files();
const wire = [...built].filter(([name]) => /\.(html|js|css|svg)$/.test(name));
const bytes = wire.reduce((sum, [, text]) => sum + gzipSync(text, { level: 9 }).length, 0);
console.log(`${bytes} bytes over the wire, of ${LIMIT}`);
if (bytes > LIMIT) throw new Error('the page is too large');

if (process.argv.includes('--check')) {
    const committed = existsSync(dist) ? readdirSync(dist).sort() : [];
    const differs = [...built.keys()].filter((name) => !committed.includes(name) || read('dist', name) !== built.get(name));
    const unknown = committed.filter((name) => !built.has(name));
    if (differs.length || unknown.length) {
        console.error(`dist/ is not what the sources build: ${[...differs, ...unknown].join(', ')}`);
        console.error('run: cd web && npm ci && npm run build');
        process.exit(1);
    }
    console.log('dist/ is what the sources build');
} else {
    rmSync(dist, { recursive: true, force: true });
    mkdirSync(dist);
    for (const [name, text] of built) writeFileSync(join(dist, name), text);
}
