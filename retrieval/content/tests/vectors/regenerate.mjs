// Makes the inputs of cases.json, packs each with ipfs-car, and prints roots.json.
// Content: block i (32 bytes) of a file with a seed is SHA-256("cairn" || seed as u32 LE || i as u32 LE); without a seed it is zeros.
import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const [casesPath, ipfsCar, scratch] = process.argv.slice(2)

function content (bytes, seed) {
  const out = Buffer.alloc(Math.ceil(bytes / 32) * 32)
  const input = Buffer.alloc(13)
  input.write('cairn')
  input.writeUInt32LE(seed, 5)
  for (let block = 0; block * 32 < bytes; block++) {
    input.writeUInt32LE(block, 9)
    createHash('sha256').update(input).digest().copy(out, block * 32)
  }
  return out.subarray(0, bytes)
}

function write (path, { bytes, seed }) {
  mkdirSync(dirname(path), { recursive: true })
  if (seed !== undefined) return writeFileSync(path, content(bytes, seed))
  closeSync(openSync(path, 'w'))
  truncateSync(path, bytes)
}

function make (dir, testCase) {
  if (testCase.file) {
    write(join(dir, 'input'), testCase.file)
  } else {
    mkdirSync(join(dir, 'input'))
    for (const entry of testCase.folder) {
      if (entry.path.endsWith('/')) mkdirSync(join(dir, 'input', entry.path), { recursive: true })
      else if (entry.count === undefined) write(join(dir, 'input', entry.path), entry)
      else {
        for (let i = 0; i < entry.count; i++) {
          write(join(dir, 'input', entry.path.replace('%', i)), { bytes: entry.bytes, seed: entry.seed + i })
        }
      }
    }
  }
  return join(dir, 'input')
}

const roots = {}
for (const testCase of JSON.parse(readFileSync(casesPath, 'utf8')).cases) {
  const dir = mkdtempSync(join(scratch, 'case-'))
  const input = make(dir, testCase)
  const flags = testCase.hidden ? ['--hidden'] : []
  // A real output file: with /dev/null the tool never ends, because it reads the header back.
  const pack = [ipfsCar, 'pack', '--no-wrap', ...flags, input, '--output', join(dir, 'out.car')]
  const out = execFileSync(process.execPath, pack, { encoding: 'utf8' })
  roots[testCase.name] = out.trim()
  rmSync(dir, { recursive: true })
}
console.log(JSON.stringify({
  source: 'root CIDs printed by `ipfs-car pack --no-wrap` (npm package ipfs-car, Apache-2.0 OR MIT)',
  ipfs_car: JSON.parse(readFileSync(join(dirname(ipfsCar), 'package.json'), 'utf8')).version,
  command: 'tests/vectors/regenerate.sh',
  roots
}, null, 2))
