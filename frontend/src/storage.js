// What outlives a reload of this tab. A browser may forbid storage altogether; then the page works and forgets.
// Per tab on purpose: two tabs on one session would overwrite each other's drafts.

const PREFIX = 'midsentence.';

export function recall(name) {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    sessionStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Forbidden or full: nothing that is on the screen depends on it.
  }
}

export function forget(name) {
  try {
    sessionStorage.removeItem(PREFIX + name);
  } catch {
    // As above.
  }
}
