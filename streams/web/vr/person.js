/** A head from its file, on a body, moved by states. */

import { Morphs } from "./morphs.js";
import { CanvasTexture, Euler, Group, LatheGeometry, MathUtils, Mesh, MeshLambertMaterial, MeshPhongMaterial, MeshStandardMaterial, SRGBColorSpace, Sprite, SpriteMaterial, Vector2 } from "./three.js";

const RAD = MathUtils.DEG2RAD;
/** Millimetres by which a head leaves its place at most: a camera's idea of distance is a rough one. */
const REACH = 60;
/** Of the head's turn; the rest is the spine's. */
const NECK = 0.45;

export class Person {
  /** Put this where the person sits: the pivot of the head is at its origin, z is ahead. */
  place = new Group();
  #morphs = new Morphs();

  /** `scene`: of the head's file. `cloth`: colour of what the person wears. `plain`: materials that cost little. */
  constructor(scene, cloth, plain) {
    this.head = scene.getObjectByName("Head");
    this.eyes = ["LeftEye", "RightEye"].map((name) => scene.getObjectByName(name));
    this.neck = scene.getObjectByName("Neck");
    scene.traverse((one) => {
      if (!one.isMesh) return;
      one.castShadow = one.receiveShadow = true;
      one.frustumCulled = false; // its bounds are those of the face at rest
      one.material = plain ? simple(one.material) : finish(one.material);
      if (one.morphTargetDictionary) this.#morphs.add(one);
    });
    this.place.add(this.head, this.neck, body(cloth, plain));
    this.tag = tag("AI-generated");
    this.tag.position.set(0, -0.235, 0.17);
    this.place.add(this.tag);
  }

  /** Coefficients as they are drawn now: name -> 0..1. */
  get influences() {
    return this.#morphs.influences;
  }

  /** Show what `Playout.at` says; null is a face at rest. */
  show(what) {
    const { arkit = {}, head = {}, gaze = {}, strength = 0 } = what ?? {};
    for (const name of Object.keys(this.#morphs.influences)) this.#morphs.set(name, strength * (arkit[name] ?? 0));
    this.#morphs.apply();
    const angle = (table, name, part = 1) => strength * part * RAD * (table[name] ?? 0);
    // R = Ry Rx Rz; up is against x.
    this.head.quaternion.setFromEuler(new Euler(-angle(head, "pitch"), angle(head, "yaw"), angle(head, "roll"), "YXZ"));
    this.neck.quaternion.setFromEuler(new Euler(-angle(head, "pitch", NECK), angle(head, "yaw", NECK), angle(head, "roll", NECK), "YXZ"));
    const shift = ["x", "y", "z"].map((name) => (strength * MathUtils.clamp(head[name] ?? 0, -REACH, REACH)) / 1000);
    this.head.position.set(...shift);
    this.neck.position.copy(this.head.position).multiplyScalar(0.6);
    for (const eye of this.eyes) eye.quaternion.setFromEuler(new Euler(-angle(gaze, "pitch"), angle(gaze, "yaw"), 0, "YXZ"));
  }
}

/** What a file cannot say of how light falls on a surface. */
function finish(material) {
  const shine = { eye_left: 1.5, eye_right: 1.5, skin: 0.55, neck: 0.5, hair: 0.5 }[material.name] ?? 0.7;
  material.envMapIntensity = shine;
  if (material.map) material.map.anisotropy = 4;
  return material;
}

/** For a processor that draws: no reflections, but a glint in the eyes. */
function simple({ name, map, color, side }) {
  if (name.startsWith("eye_")) return new MeshPhongMaterial({ name, map, color, side, shininess: 120, specular: 0x999999 });
  return new MeshLambertMaterial({ name, map, color, side });
}

/** Shoulders and chest in a pullover with a collar; the head's pivot is at the origin. */
function body(cloth, plain) {
  const outline = [
    [0.205, -0.62], [0.215, -0.48], [0.226, -0.34], [0.226, -0.23], [0.214, -0.17], [0.188, -0.135], [0.145, -0.112], [0.100, -0.096],
    [0.070, -0.082], [0.062, -0.068], [0.061, -0.05], [0.057, -0.044], [0.050, -0.056],
  ];
  const profile = smooth(outline, plain ? 1 : 2);
  // From the back, where its seam is.
  const geometry = new LatheGeometry(profile.map(([r, y]) => new Vector2(r, y)), plain ? 24 : 64, Math.PI);
  // A chest is half as deep as wide, a neck is round; before and behind, the shoulders slope more.
  const places = geometry.attributes.position;
  for (let i = 0; i < places.count; i++) {
    const [x, y, z] = [places.getX(i), places.getY(i), places.getZ(i)];
    const radius = Math.hypot(x, z);
    const down = 0.11 * (z / radius) ** 2 * MathUtils.smoothstep(radius, 0.075, 0.2) * MathUtils.smoothstep(y, -0.5, -0.15);
    places.setXYZ(i, x, y - down, z * MathUtils.lerp(1, 0.58, MathUtils.smoothstep(radius, 0.08, 0.2)) - 0.01);
  }
  geometry.computeVertexNormals();
  const wool = plain ? new MeshLambertMaterial({ color: cloth }) : new MeshStandardMaterial({ color: cloth, roughness: 0.95, envMapIntensity: 0.4 });
  const mesh = new Mesh(geometry, wool);
  mesh.castShadow = mesh.receiveShadow = true;
  return mesh;
}

/** A polyline with its corners cut so many times (Chaikin 1974). */
function smooth(points, times) {
  for (let i = 0; i < times; i++) {
    const at = (a, b, k) => a.map((value, j) => value + k * (b[j] - value));
    const cut = points.slice(1).flatMap((b, j) => [at(points[j], b, 0.25), at(points[j], b, 0.75)]);
    points = [points[0], ...cut, points.at(-1)];
  }
  return points;
}

/** The label that is seen in a headset too. */
export function tag(text) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 512, height: 96 });
  const draw = canvas.getContext("2d");
  draw.fillStyle = "rgb(18 20 24 / .8)";
  draw.beginPath();
  draw.roundRect(0, 0, 512, 96, 48);
  draw.fill();
  draw.fillStyle = "#fff";
  draw.font = "560 54px system-ui, sans-serif";
  draw.textAlign = "center";
  draw.textBaseline = "middle";
  draw.fillText(text, 256, 52);
  const map = new CanvasTexture(canvas);
  map.colorSpace = SRGBColorSpace;
  const sprite = new Sprite(new SpriteMaterial({ map, transparent: true, toneMapped: false }));
  sprite.scale.set(0.15, 0.15 * (96 / 512), 1);
  sprite.name = "badge";
  return sprite;
}
