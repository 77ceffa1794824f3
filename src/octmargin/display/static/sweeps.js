// Which B-scans the daemon keeps (`GET /api/bscans`), frames as [first, last] ranges. Pure.

// What is kept of a sweep of this run of the daemon; null where nothing is.
export function keptOf(sweeps, session, sweep) {
  return sweeps.find((each) => each.session === session && each.sweep === sweep) ?? null;
}
