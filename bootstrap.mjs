// Installs and builds what is missing, so that `npm run demo`, `npm test` and `npm start` each work as
// the first command in a clean clone. It runs on the machine's own Node (20 or newer), and then runs the
// program that it is given, with its arguments, on the Node 24 of node_modules: a shell that has found
// the machine's own Node once would go on using that one.
//
//   node bootstrap.mjs [program.js [argument …]]
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(fileURLToPath(import.meta.url))
const installed = join(root, 'node_modules', '.pgflex-installed')
const windows = process.platform === 'win32'

/** Runs a command with its output on stderr: stdout belongs to the command that the user asked for. */
function run(command, args, what) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], shell: windows })
  if (error || status !== 0) {
    console.error(`pgflex: ${what} failed${error ? `: ${error.message}` : ''}. See the messages above.`)
    process.exit(1)
  }
}

const lockHash = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .digest('hex')
if (!existsSync(installed) || readFileSync(installed, 'utf8') !== lockHash) {
  console.error('pgflex: installing packages (once, about a minute) …')
  run('npm', ['ci', '--loglevel=error', '--no-audit', '--no-fund'], 'npm ci')
  writeFileSync(installed, lockHash)
}

const bin = (name) => join(root, 'node_modules', '.bin', windows ? `${name}.cmd` : name)
console.error('pgflex: building …')
mkdirSync(join(root, 'dist'), { recursive: true })
if (!existsSync(join(root, 'dist', 'functions'))) rmSync(join(root, 'dist', '.tsbuildinfo'), { force: true })
run(bin('tsc'), ['--project', root], 'the TypeScript build')

const [program, ...programArguments] = process.argv.slice(2)
if (program !== undefined) {
  const own = join(root, 'node_modules', 'node', 'bin', windows ? 'node.exe' : 'node')
  const child = spawn(existsSync(own) ? own : process.execPath, [join(root, program), ...programArguments], {
    stdio: 'inherit',
  })
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  // Ctrl-C on a terminal reaches the program by itself.
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'))
  child.on('exit', (code) => process.exit(code ?? 1))
}
