/* A headset for tests: as much of the WebXR Device API (W3C, https://www.w3.org/TR/webxr/) as an immersive session needs.
 *
 * Two eyes side by side in one framebuffer, 256 x 256 each, looking level along -z from 1.2 m above the floor, 64 mm apart.
 * Names and rules are the specification's: a session has one base layer and no framebuffer without it, callbacks come
 * once and with a frame that is active only meanwhile, poses are asked of reference spaces of this session, and an ended
 * session calls nobody. `window.headset` is the tests' side: what was asked, what was seen, and how to take it off. */
(() => {
  const SIDE = 256, HEIGHT = 1.2, APART = 0.064;
  const log = { supported: [], requested: [], spaces: [], frames: 0, ended: 0, faults: [] };
  const headset = { log, floor: true, session: null, eyes: null, yaw: 0, takeOff: () => headset.session.end() };
  const fault = (text) => log.faults.push(text);

  /** Column-major matrix of a turn about y and a place, as XRRigidTransform.matrix has it. */
  function transform(x, y, z, yaw) {
    const c = Math.cos(yaw), s = Math.sin(yaw);
    const matrix = new Float32Array([c, 0, -s, 0, 0, 1, 0, 0, s, 0, c, 0, x, y, z, 1]);
    const back = new Float32Array([c, 0, s, 0, 0, 1, 0, 0, -s, 0, c, 0, -c * x + s * z, -y, -s * x - c * z, 1]);
    return {
      matrix, position: { x, y, z, w: 1 }, orientation: { x: 0, y: Math.sin(yaw / 2), z: 0, w: Math.cos(yaw / 2) },
      inverse: { matrix: back },
    };
  }

  function projection(near, far) {
    const f = 1 / Math.tan(Math.PI / 8);
    return new Float32Array([f, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0]);
  }

  class Frame {
    constructor(session) { this.session = session; this.active = true; }
    getViewerPose(space) {
      if (!this.active) { fault("a pose was asked of a frame that is over"); throw new DOMException("", "InvalidStateError"); }
      if (space?.session !== this.session) { fault("a space of another session"); throw new DOMException("", "InvalidStateError"); }
      const { depthNear, depthFar } = this.session.renderState;
      const up = space.type === "local-floor" ? HEIGHT : 0, c = Math.cos(headset.yaw), s = Math.sin(headset.yaw);
      const views = [["left", -APART / 2], ["right", APART / 2]].map(([eye, x]) => ({
        eye, projectionMatrix: projection(depthNear, depthFar), transform: transform(c * x, up, -s * x, headset.yaw),
      }));
      return { transform: transform(0, up, 0, headset.yaw), views, emulatedPosition: false };
    }
    getPose() { return null; }
  }

  class Session extends EventTarget {
    constructor(features) {
      super();
      Object.assign(this, { inputSources: [], environmentBlendMode: "opaque", visibilityState: "visible", over: false });
      this.enabledFeatures = ["viewer", "local", ...features];
      this.renderState = { depthNear: 0.1, depthFar: 1000, baseLayer: null };
      this.waiting = new Map();
      this.number = 0;
      this.clock = setInterval(() => this.draw(), 1000 / 72);
    }
    async requestReferenceSpace(type) {
      log.spaces.push(type);
      if (!this.enabledFeatures.includes(type)) throw new DOMException(`${type} is not supported`, "NotSupportedError");
      return { session: this, type, addEventListener() {}, getOffsetReferenceSpace() { return this; } };
    }
    updateRenderState(state) {
      if (this.over) { fault("an ended session was given a layer"); throw new DOMException("", "InvalidStateError"); }
      this.renderState = { ...this.renderState, ...state };
    }
    requestAnimationFrame(call) {
      if (this.over) return 0;
      this.waiting.set(++this.number, call);
      return this.number;
    }
    cancelAnimationFrame(number) { this.waiting.delete(number); }
    draw() {
      const layer = this.renderState.baseLayer;
      if (this.over || !layer || !this.waiting.size) return;
      const calls = [...this.waiting.values()], frame = new Frame(this);
      this.waiting.clear();
      layer.clear();
      for (const call of calls) {
        try { call(performance.now(), frame); } catch (error) { fault(String(error)); }
      }
      frame.active = false;
      log.frames += 1;
      headset.eyes = () => layer.read();
    }
    async end() {
      if (this.over) throw new DOMException("it has ended", "InvalidStateError");
      this.over = true;
      clearInterval(this.clock);
      this.waiting.clear();
      headset.session = null;
      log.ended += 1;
      this.dispatchEvent(Object.assign(new Event("end"), { session: this }));
    }
  }

  window.XRWebGLLayer = class XRWebGLLayer {
    constructor(session, gl, options) {
      if (session.over) throw new DOMException("it has ended", "InvalidStateError");
      Object.assign(this, { gl, antialias: false, ignoreDepthValues: true, fixedFoveation: 0, options });
      this.framebufferWidth = 2 * SIDE;
      this.framebufferHeight = SIDE;
      const before = gl.getParameter(gl.FRAMEBUFFER_BINDING), bound = gl.getParameter(gl.RENDERBUFFER_BINDING);
      this.framebuffer = gl.createFramebuffer();
      gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
      for (const [kind, place] of [[gl.RGBA8, gl.COLOR_ATTACHMENT0], [gl.DEPTH24_STENCIL8, gl.DEPTH_STENCIL_ATTACHMENT]]) {
        const buffer = gl.createRenderbuffer();
        gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
        gl.renderbufferStorage(gl.RENDERBUFFER, kind, 2 * SIDE, SIDE);
        gl.framebufferRenderbuffer(gl.FRAMEBUFFER, place, gl.RENDERBUFFER, buffer);
      }
      if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE) fault("the test's framebuffer is incomplete");
      gl.bindRenderbuffer(gl.RENDERBUFFER, bound);
      gl.bindFramebuffer(gl.FRAMEBUFFER, before);
    }
    getViewport(view) { return { x: view.eye === "left" ? 0 : SIDE, y: 0, width: SIDE, height: SIDE }; }
    /** The system clears what it will be drawn into. */
    clear() {
      const { gl } = this, before = gl.getParameter(gl.FRAMEBUFFER_BINDING);
      gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
      gl.clearBufferfv(gl.COLOR, 0, [0, 0, 0, 0]);
      gl.bindFramebuffer(gl.FRAMEBUFFER, before);
    }
    /** RGBA rows from below, as base64. */
    read() {
      const { gl } = this, before = gl.getParameter(gl.FRAMEBUFFER_BINDING), pixels = new Uint8Array(8 * SIDE * SIDE);
      gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
      gl.readPixels(0, 0, 2 * SIDE, SIDE, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
      gl.bindFramebuffer(gl.FRAMEBUFFER, before);
      let text = "";
      for (let i = 0; i < pixels.length; i += 8192) text += String.fromCharCode(...pixels.subarray(i, i + 8192));
      return btoa(text);
    }
    static getNativeFramebufferScaleFactor() { return 1; }
  };
  delete window.XRWebGLBinding;
  WebGL2RenderingContext.prototype.makeXRCompatible = async () => {};

  const system = Object.assign(new EventTarget(), {
    isSessionSupported: async (mode) => (log.supported.push(mode), mode === "immersive-vr"),
    requestSession: async (mode, { requiredFeatures = [], optionalFeatures = [] } = {}) => {
      log.requested.push({ mode, requiredFeatures, optionalFeatures, byUser: navigator.userActivation.isActive });
      if (headset.session) throw new DOMException("there is a session", "InvalidStateError");
      const has = (feature) => feature !== "local-floor" || headset.floor;
      if (!requiredFeatures.every(has)) throw new DOMException("", "NotSupportedError");
      headset.session = new Session([...requiredFeatures, ...optionalFeatures.filter(has)]);
      return headset.session;
    },
  });
  Object.defineProperty(navigator, "xr", { value: system });
  window.headset = headset;
})();
