/** The engine's HTTP interface, and the events that it pushes. */

/** An answer that the engine refused; `message` is its one line, `code` its short name where it has one. */
export class ApiError extends Error {
  constructor(message, code = "", status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** Send a request and return the answer's JSON (null where it is empty). Throws ApiError with a line for the user. */
export async function request(method, path, { json, form, timeout = 15000, keepalive = false } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      keepalive,
      headers: json === undefined ? {} : { "Content-Type": "application/json" },
      body: json === undefined ? form : JSON.stringify(json),
      signal: AbortSignal.timeout(timeout),
    });
  } catch {
    throw new ApiError("The engine does not answer. Is it still running?", "unreachable");
  }
  const body = (response.headers.get("Content-Type") ?? "").includes("json") ? await response.json().catch(() => null) : null;
  if (!response.ok) {
    throw new ApiError(body?.error ?? `The engine answered with error ${response.status}.`, body?.code, response.status);
  }
  return body;
}

/** Waiting times that double up to eight seconds, with a little chance so that many pages do not return at once. */
export class Backoff {
  #step = 0;

  reset() {
    this.#step = 0;
  }

  next() {
    const base = Math.min(8000, 500 * 2 ** this.#step++);
    return base * (0.8 + 0.4 * Math.random());
  }
}

/** The event socket: opens itself again. Events: "open", "lost", "message" (detail: the object). */
export class Events extends EventTarget {
  #socket = null;
  #backoff = new Backoff();
  #timer = 0;
  #closed = false;

  open() {
    this.#closed = false;
    clearTimeout(this.#timer);
    if (this.#socket && this.#socket.readyState <= WebSocket.OPEN) return;
    const socket = new WebSocket(new URL("api/events", location.href.replace(/^http/, "ws")));
    this.#socket = socket;
    socket.onopen = () => {
      this.#backoff.reset();
      this.dispatchEvent(new Event("open"));
    };
    socket.onmessage = (event) => {
      this.dispatchEvent(new CustomEvent("message", { detail: JSON.parse(event.data) }));
    };
    socket.onclose = () => {
      if (this.#closed || socket !== this.#socket) return;
      this.dispatchEvent(new Event("lost"));
      this.#timer = setTimeout(() => this.open(), this.#backoff.next());
    };
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#socket = null;
  }
}

/** Sends changes of the state one request at a time; what changes meanwhile goes out together with the next one. */
export class Changes {
  #pending = {};
  #sent = {};
  #waiting = [];
  #busy = false;

  constructor(onState) {
    this.onState = onState;
  }

  /** True while a change of this field has not been answered: what the engine says about it is older. */
  holds(field) {
    return field in this.#pending || field in this.#sent;
  }

  /** Resolves when the engine has taken the change; rejects with ApiError. */
  push(fields) {
    Object.assign(this.#pending, fields);
    const done = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    this.#flush();
    return done;
  }

  async #flush() {
    if (this.#busy) return;
    this.#busy = true;
    while (Object.keys(this.#pending).length) {
      this.#sent = this.#pending;
      this.#pending = {};
      const waiting = this.#waiting.splice(0);
      try {
        const state = await request("PATCH", "api/state", { json: this.#sent });
        this.#sent = {};
        this.onState(state);
        waiting.forEach((one) => one.resolve(state));
      } catch (error) {
        this.#sent = {};
        waiting.forEach((one) => one.reject(error));
      }
    }
    this.#busy = false;
  }
}
