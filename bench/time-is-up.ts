/** Something was stopped because it took longer than its limit. */
export class TimeIsUp extends Error {}
