import { InvalidArgumentError } from 'commander'

/** An option that is a whole number from 1 on. */
export function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1 on.')
  return Number(text)
}

/** An option that is some of the given names, separated by commas. */
export function someOf<T extends string>(names: readonly T[]): (text: string) => T[] {
  return (text) =>
    text.split(',').map((part) => {
      const name = names.find((one) => one === part.trim())
      if (name === undefined)
        throw new InvalidArgumentError(`There is no "${part.trim()}"; there are ${names.join(', ')}.`)
      return name
    })
}

/** Options of Node that profile a process into a file of this name. */
export function profiling(folder: string | undefined, name: string): string[] {
  return folder === undefined
    ? []
    : ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${name}-${process.pid}.cpuprofile`]
}
