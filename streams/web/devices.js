/** The page's own microphone and camera. */

const WANTED = {
  // The avatar's voice comes back from the loudspeaker, so echo cancellation stays on.
  audio: { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } },
  video: { video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user" } },
};
const NAMES = { audio: "microphone", video: "camera" };

/** Open a device and return its track. Throws an Error with one line for the user. */
export async function openTrack(kind) {
  const name = NAMES[kind];
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error(`Browsers give a ${name} only to https pages and to localhost. Open this page on the computer that runs the engine.`);
  }
  try {
    const stream = await navigator.mediaDevices.getUserMedia(WANTED[kind]);
    return stream.getTracks()[0];
  } catch (error) {
    throw new Error(explain(error, name));
  }
}

function explain(error, name) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return `The browser does not allow the ${name}. Allow it in the site settings beside the address, then press the button again.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `No ${name} was found. Connect one and press the button again.`;
    case "NotReadableError":
    case "AbortError":
      return `The ${name} does not start. Close other programs that use it and press the button again.`;
    default:
      return `The ${name} does not start (${error.name}). Connect it anew and press the button again.`;
  }
}
