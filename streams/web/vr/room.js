/** The room: light, floor, a table, and where people sit. Metres. */

import {
  BackSide, BoxGeometry, CanvasTexture, Color, CylinderGeometry, DirectionalLight, Fog, HemisphereLight, Mesh, MeshBasicMaterial, MeshLambertMaterial, MeshStandardMaterial,
  PMREMGenerator, PlaneGeometry, RepeatWrapping, SRGBColorSpace, Scene, SphereGeometry,
} from "./three.js";

/** Height of a head's pivot over the floor, of somebody who sits. */
export const SEAT_HEIGHT = 1.13;
const TABLE = { height: 0.74, radius: 0.38 };
/** Half of the distance between two who face each other. */
export const APART = 0.52;

/** `plain`: without reflections and shadows, for a processor that draws. */
export function room(renderer, two, plain) {
  const scene = new Scene();
  scene.background = new Color(0x23262b);
  scene.fog = new Fog(0x23262b, 4, 9);
  if (!plain) {
    scene.environment = softboxes(renderer);
    scene.environmentIntensity = 0.42;
  }
  scene.add(new HemisphereLight(0xdfe8ff, 0x5a4636, plain ? 1.5 : 0.6));
  const key = new DirectionalLight(0xfff1e2, 2.3);
  key.position.set(-0.9, 2.6, 2.2);
  if (two) key.position.set(0.15, 2.7, 2.4);
  key.target.position.set(0, SEAT_HEIGHT, 0);
  key.castShadow = !plain;
  key.shadow.mapSize.set(1024, 1024);
  const reach = two ? 1.1 : 0.5;
  Object.assign(key.shadow.camera, { left: -reach, right: reach, top: 0.55, bottom: -0.75, near: 0.8, far: 5 });
  key.shadow.bias = -0.0006;
  key.shadow.normalBias = 0.006;
  key.shadow.radius = 5;
  const rim = new DirectionalLight(0xbcd2ff, 0.9);
  rim.position.set(1.6, 2.2, -2.0);
  scene.add(key, key.target, rim);

  const floor = new Mesh(new PlaneGeometry(24, 24), surface(plain, { color: 0x3a342e, roughness: 0.95 }));
  floor.rotation.x = -Math.PI / 2;
  floor.receiveShadow = true;
  scene.add(floor, wall());
  if (two) scene.add(...table(plain));
  return scene;
}

function wall() {
  const back = new Mesh(
    new SphereGeometry(8, 20, 10),
    new MeshBasicMaterial({ map: gradient(["#1d2025", "#2c3036", "#3a3b3d", "#2b2a29", "#1c1a18"]), side: BackSide, fog: false }),
  );
  back.position.y = 1.2;
  return back;
}

function surface(plain, { roughness, metalness = 0, ...rest }) {
  return plain ? new MeshLambertMaterial(rest) : new MeshStandardMaterial({ ...rest, roughness, metalness });
}

function table(plain) {
  const wood = surface(plain, { map: planks(), roughness: 0.55 });
  const top = new Mesh(new CylinderGeometry(TABLE.radius, TABLE.radius - 0.012, 0.035, 64), wood);
  top.position.y = TABLE.height - 0.0175;
  const metal = surface(plain, { color: 0x1c1d1f, roughness: 0.5, metalness: 0.6 });
  const leg = new Mesh(new CylinderGeometry(0.035, 0.045, TABLE.height - 0.03, 24), metal);
  leg.position.y = TABLE.height / 2;
  const foot = new Mesh(new CylinderGeometry(0.28, 0.3, 0.02, 48), metal);
  foot.position.y = 0.01;
  for (const part of [top, leg, foot]) part.castShadow = part.receiveShadow = true;
  return [top, leg, foot];
}

/** Light from windows that are not drawn: it gives the eyes their glint. */
function softboxes(renderer) {
  const around = new Scene();
  around.add(new Mesh(new BoxGeometry(8, 5, 8), new MeshBasicMaterial({ color: 0x3c3a38, side: BackSide })));
  const panel = (width, height, light, x, y, z) => {
    const one = new Mesh(new PlaneGeometry(width, height), new MeshBasicMaterial({ color: new Color(light, light, light * 1.05) }));
    one.position.set(x, y, z);
    one.lookAt(0, 0, 0);
    around.add(one);
  };
  panel(2.2, 1.6, 9, -2.6, 1.3, 2.8);
  panel(1.2, 1.8, 4, 3.2, 0.8, 1.6);
  panel(3.0, 3.0, 2.2, 0, 2.4, 0.1);
  panel(1.5, 1.5, 3, 0.5, 0.8, -3.4);
  const maker = new PMREMGenerator(renderer);
  const made = maker.fromScene(around, 0.03).texture;
  maker.dispose();
  return made;
}

function paper(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const texture = new CanvasTexture(canvas);
  texture.colorSpace = SRGBColorSpace;
  return [texture, canvas.getContext("2d")];
}

function gradient(colours) {
  const [texture, draw] = paper(8, 256);
  const fill = draw.createLinearGradient(0, 0, 0, 256);
  colours.forEach((colour, i) => fill.addColorStop(i / (colours.length - 1), colour));
  draw.fillStyle = fill;
  draw.fillRect(0, 0, 8, 256);
  return texture;
}

function planks() {
  const [texture, draw] = paper(512, 512);
  draw.fillStyle = "#7a5638";
  draw.fillRect(0, 0, 512, 512);
  for (let i = 0; i < 900; i++) {
    const y = (i * 197.3) % 512;
    draw.fillStyle = `rgb(${i % 2 ? "40 22 10" : "190 140 96"} / ${0.03 + 0.06 * ((i * 0.618) % 1)})`;
    draw.fillRect((i * 83.7) % 512 - 160, y, 220 + ((i * 31) % 260), 1 + (i % 3) * 0.6);
  }
  texture.wrapS = texture.wrapT = RepeatWrapping;
  return texture;
}
