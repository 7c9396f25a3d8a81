// Reads through clients that other people wrote: node read.mjs GATEWAY FOLDER CID PATH
//   Helia's trustless gateway client and UnixFS: PATH below CID, block by block, each checked against its CID; from byte 100 too.
//   ipfs-car: unpacks the archive of CID into FOLDER, every block checked.
// Prints one line of JSON: bytes and SHA-256 of the file.
import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { trustlessGatewayBlockBroker } from '@helia/trustless-gateway-client'
import { unixfs } from '@helia/unixfs'
import { uriToMultiaddr } from '@multiformats/uri-to-multiaddr'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

const [gateway, folder, root, path] = process.argv.slice(2)
const cid = CID.parse(root)

const quiet = Object.assign(() => {}, { error () {}, trace () {}, enabled: false, newScope: () => quiet })
const logger = { forComponent: () => quiet }
const routing = {
  async * findProviders () {
    yield { multiaddrs: [uriToMultiaddr(gateway)], protocols: ['transport-ipfs-gateway-http'], router: 'static', fallback: false }
  }
}
const broker = trustlessGatewayBlockBroker({ allowInsecure: true, allowLocal: true })({ logger, routing })
let blocks = 0

async function validate (cid, bytes) {
  const digest = await sha256.digest(bytes)
  if (Buffer.compare(digest.digest, cid.multihash.digest) !== 0) throw new Error(`${cid} has other bytes`)
}

const blockstore = {
  async * get (cid, options) {
    blocks++
    yield await broker.retrieve(cid, { ...options, validateFn: bytes => validate(cid, bytes) })
  },
  async has () { return false },
  async put () { throw new Error('nothing is stored') }
}
const fs = unixfs({ blockstore, logger })

async function read (options) {
  const parts = []
  for await (const part of fs.cat(cid, options)) parts.push(part)
  return Buffer.concat(parts)
}

const file = await read({ path })
const tail = await read({ path, offset: 100 })
if (Buffer.compare(tail, file.subarray(100)) !== 0) throw new Error('a part of the file differs from the whole')

const response = await fetch(`${gateway}/ipfs/${root}?format=car`)
const archive = join(folder, 'archive.car')
writeFileSync(archive, Buffer.from(await response.arrayBuffer()))
const tool = join(import.meta.dirname, 'node_modules', 'ipfs-car', 'bin.js')
execFileSync(process.execPath, [tool, 'unpack', archive, '--output', join(folder, 'unpacked')], { stdio: ['ignore', 'ignore', 'inherit'] })

console.log(JSON.stringify({ blocks, bytes: file.length, sha256: createHash('sha256').update(file).digest('hex') }))
