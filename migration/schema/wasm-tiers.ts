import { setFlagsFromString } from 'node:v8'

/*
 * V8 compiles a WebAssembly module a second time, optimized, in the background. For the grammar of PostgreSQL's
 * parser, one huge function, that takes 600 MB of memory for some seconds, and about a second of a processor; the
 * first compilation is fast enough for a few thousand statements. It takes both flags, set before the module is
 * compiled. https://v8.dev/docs/wasm-compilation-pipeline
 */
for (const flag of ['--no-wasm-tier-up', '--no-wasm-dynamic-tiering']) setFlagsFromString(flag)
