/** The voice comes from where its head is. */

import { Vector3 } from "./three.js";

const at = new Vector3();
const ahead = new Vector3();

export class Voice {
  /** `stream`: the MediaStream. Call from a click, or the browser keeps it silent. */
  constructor(stream) {
    // Chromium lets a remote track flow only while an element plays it.
    this.element = Object.assign(new Audio(), { srcObject: stream, muted: true });
    this.element.play().catch(() => {});
    this.context = new AudioContext();
    this.panner = new PannerNode(this.context, { panningModel: "HRTF", distanceModel: "inverse", refDistance: 1, rolloffFactor: 0.7 });
    this.context.createMediaStreamSource(stream).connect(this.panner).connect(this.context.destination);
  }

  /** Seconds between the browser's taking a sample and its being heard. */
  get latency() {
    return (this.context.baseLatency ?? 0) + (this.context.outputLatency ?? 0);
  }

  /** Place the mouth and the ears: `head` an object, `camera` the listener. */
  move(head, camera) {
    const { panner } = this;
    head.getWorldPosition(at);
    [panner.positionX.value, panner.positionY.value, panner.positionZ.value] = at.toArray();
    const ear = this.context.listener;
    if (!ear.positionX) return; // Firefox: the voice comes from the middle
    camera.getWorldPosition(at);
    camera.getWorldDirection(ahead);
    [ear.positionX.value, ear.positionY.value, ear.positionZ.value] = at.toArray();
    [ear.forwardX.value, ear.forwardY.value, ear.forwardZ.value] = ahead.toArray();
  }

  close() {
    this.element.srcObject = null;
    this.context.close();
  }
}
