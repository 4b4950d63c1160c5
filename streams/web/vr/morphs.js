/** Morph targets on the processor. A face moves a dozen of 52 targets at a time, each a quarter of its vertices: summed here
 * that is half a millisecond; in the vertex shader every vertex looks at all of them, in the shadow's pass too. */

const DYNAMIC = 35048; // GL's DYNAMIC_DRAW

export class Morphs {
  /** Name of a coefficient -> 0..1, as drawn. */
  influences = {};
  #parts = [];
  #changed = false;

  /** Take over a mesh with morph targets. */
  add(mesh) {
    const { attributes, morphAttributes } = mesh.geometry;
    const targets = [];
    for (const [name, index] of Object.entries(mesh.morphTargetDictionary ?? {})) {
      this.influences[name] ??= 0;
      const moved = sparse(morphAttributes.position[index].array, morphAttributes.normal?.[index].array);
      if (moved.vertices.length) targets.push({ name, ...moved });
    }
    mesh.geometry.morphAttributes = {};
    mesh.morphTargetInfluences = mesh.morphTargetDictionary = undefined;
    if (!targets.length) return;
    const { position, normal } = attributes;
    position.usage = normal.usage = DYNAMIC;
    this.#parts.push({ position, normal, rest: { position: position.array.slice(), normal: normal.array.slice() }, targets });
  }

  set(name, value) {
    if (this.influences[name] === value) return;
    this.influences[name] = value;
    this.#changed = true;
  }

  /** Move the vertices, where anything was set. */
  apply() {
    if (!this.#changed) return;
    this.#changed = false;
    for (const { position, normal, rest, targets } of this.#parts) {
      const p = position.array;
      const n = normal.array;
      p.set(rest.position);
      n.set(rest.normal);
      for (const { name, vertices, moves, turns } of targets) {
        const weight = this.influences[name];
        if (weight === 0) continue;
        for (let i = 0, k = 0; i < vertices.length; i++, k += 3) {
          const at = vertices[i];
          p[at] += weight * moves[k];
          p[at + 1] += weight * moves[k + 1];
          p[at + 2] += weight * moves[k + 2];
          if (turns === null) continue;
          n[at] += weight * turns[k];
          n[at + 1] += weight * turns[k + 1];
          n[at + 2] += weight * turns[k + 2];
        }
      }
      position.needsUpdate = normal.needsUpdate = true;
    }
  }
}

/** The vertices that move or turn: { vertices: 3 x their numbers, moves, turns (null: none) }. */
function sparse(moves, turns) {
  const vertices = [];
  for (let at = 0; at < moves.length; at += 3) {
    const still = (of) => of[at] === 0 && of[at + 1] === 0 && of[at + 2] === 0;
    if (!still(moves) || (turns && !still(turns))) vertices.push(at);
  }
  const pick = (of) => Float32Array.from({ length: 3 * vertices.length }, (_, k) => of[vertices[(k / 3) | 0] + (k % 3)]);
  return { vertices: Int32Array.from(vertices), moves: pick(moves), turns: turns ? pick(turns) : null };
}
