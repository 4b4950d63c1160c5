/** States as they were sent, on a steady clock: what the network delivers unevenly is shown evenly. No drawing here. */

/** Milliseconds that a state waits, so that the next is there when it is shown: one picture at 30 a second, and a little. */
export const HOLD_MS = 45;
/** After so long without a state the face lets go, within `FADE_MS`. */
const STALE_MS = 700;
const FADE_MS = 600;
const KEPT = 90;

export class Playout {
  /** Milliseconds more to wait, where sound is heard later than it came. */
  lag = 0;
  received = 0;
  #states = [];
  #offset = null;
  #arrival = 0;

  /** Take a state (avatar/streams/wire.py) that came at `now`, on performance.now(). */
  push(state, now) {
    const at = 1000 * state.t;
    const last = this.#states.at(-1);
    if (last && (at <= last.at - 1000 || at > last.at + 5000)) this.#forget(); // another session
    else if (last && at <= last.at) return; // overtaken on the way
    this.received += 1;
    this.#arrival = now;
    // The quickest delivery tells the clocks apart; it is forgotten slowly, in case they drift.
    const offset = now - at;
    this.#offset = this.#offset === null ? offset : Math.min(this.#offset + 0.02, offset);
    this.#states.push({ at, state });
    if (this.#states.length > KEPT) this.#states.shift();
  }

  #forget() {
    this.#states = [];
    this.#offset = null;
  }

  get fresh() {
    return this.#offset !== null && performance.now() - this.#arrival < STALE_MS;
  }

  /** What to show at `now`: { arkit: name -> 0..1, head, gaze (degrees, millimetres), strength }, or null before the first. */
  at(now) {
    if (this.#offset === null) return null;
    const wanted = now - this.#offset - HOLD_MS - this.lag;
    const states = this.#states;
    let next = states.findIndex((one) => one.at > wanted);
    if (next < 0) next = states.length - 1;
    const b = states[next];
    const a = states[Math.max(0, next - 1)];
    const k = b.at > a.at ? Math.min(1, Math.max(0, (wanted - a.at) / (b.at - a.at))) : 1;
    const quiet = now - this.#arrival - STALE_MS;
    return {
      arkit: mix(a.state.arkit ?? {}, b.state.arkit ?? {}, k),
      head: mix(a.state.head ?? {}, b.state.head ?? {}, k),
      gaze: mix(a.state.gaze ?? {}, b.state.gaze ?? {}, k),
      strength: Math.min(1, Math.max(0, 1 - quiet / FADE_MS)),
    };
  }
}

function mix(a, b, k) {
  const out = {};
  for (const name of Object.keys(b)) out[name] = (a[name] ?? 0) + k * (b[name] - (a[name] ?? 0));
  return out;
}
