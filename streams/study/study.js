// One question at a time: show, wait until it could be seen, take the answer.

const KEY = "vultus-study-rater";
const $ = (id) => document.getElementById(id);

let rater = sessionStorage.getItem(KEY);
let current = null;
let ready = 0; // since when the pictures are there, or the clip plays; 0 = cannot be answered yet

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const response = await fetch(path, options);
  const said = await response.json();
  if (!response.ok) throw new Error(said.error);
  return said;
}

function only(id) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
  $("error").hidden = true;
}

function complain(problem) {
  $("error").textContent = problem.message;
  $("error").hidden = false;
}

// Resolves when it has been seen: a picture once it is there, a clip at its end.
function watched(kind, address) {
  const clip = kind.startsWith("video/");
  const element = document.createElement(clip ? "video" : "img");
  const seen = new Promise((resolve, reject) => {
    element.addEventListener("error", () => reject(new Error("A picture could not be loaded; load the page again.")));
    if (clip) element.addEventListener("ended", resolve, { once: true });
    else element.addEventListener("load", resolve, { once: true });
  });
  if (clip) {
    Object.assign(element, { controls: true, playsInline: true, preload: "auto", autoplay: true });
  } else {
    element.alt = "the face to be judged";
  }
  element.src = address;
  return { element, seen };
}

async function show(question) {
  current = question;
  ready = 0;
  if (question.done) {
    only("thanks");
    return;
  }
  only("trial");
  $("progress").max = question.total;
  $("progress").value = question.number;
  $("question").textContent = question.question;
  const pair = question.kind === "pair";
  const clips = question.media.some((kind) => kind.startsWith("video/"));
  $("hint").textContent = clips ? "You can answer when it has been played to its end." : "";
  const shown = question.media.map((kind, slot) => watched(kind, `media/${rater}/${question.number}/${slot}`));
  $("shown").replaceChildren(...shown.map(({ element }, slot) => {
    const figure = document.createElement("figure");
    figure.append(element);
    if (pair) {
      const caption = document.createElement("figcaption");
      caption.textContent = slot ? "Right" : "Left";
      figure.append(caption);
    }
    return figure;
  }));
  $("answers").replaceChildren(...question.answers.map(({ value, text }) => {
    const button = document.createElement("button");
    const key = document.createElement("kbd");
    key.textContent = pair ? (value === "left" ? "←" : "→") : value;
    button.append(key, text);
    button.value = value;
    button.disabled = true;
    button.addEventListener("click", () => give(value));
    return button;
  }));
  if (pair) { // one after the other: two sounds at once cannot be judged
    const videos = shown.map(({ element }) => element).filter((element) => element instanceof HTMLVideoElement);
    if (videos.length === 2) {
      videos[1].autoplay = false;
      videos[0].addEventListener("ended", () => videos[1].play(), { once: true });
    }
  }
  const displayed = performance.now();
  await Promise.all(shown.map(({ seen }) => seen));
  if (current !== question) return;
  for (const button of $("answers").children) button.disabled = false;
  $("hint").textContent = pair ? "Arrow keys work too." : "Keys 1 to 5 work too.";
  ready = clips ? displayed : performance.now();
}

async function give(answer) {
  if (!ready || !current) return;
  const ms = Math.round(performance.now() - ready);
  ready = 0;
  for (const button of $("answers").children) button.disabled = true;
  try {
    await show(await call("api/answer", { rater, number: current.number, answer, ms }));
  } catch (problem) {
    complain(problem);
  }
}

async function begin() {
  try {
    if (!rater) {
      ({ rater } = await call("api/begin", {}));
      sessionStorage.setItem(KEY, rater);
    }
    await show(await call(`api/question?rater=${rater}`));
  } catch (problem) {
    complain(problem);
  }
}

async function withdraw() {
  if (!confirm("Delete all your answers? This cannot be undone.")) return;
  try {
    await call("api/withdraw", { rater });
    sessionStorage.removeItem(KEY);
    rater = current = null;
    only("gone");
  } catch (problem) {
    complain(problem);
  }
}

$("begin").addEventListener("click", begin);
for (const button of document.querySelectorAll(".withdraw")) button.addEventListener("click", withdraw);
document.addEventListener("keydown", ({ key, repeat, altKey, ctrlKey, metaKey }) => {
  if (repeat || altKey || ctrlKey || metaKey || !current || current.done) return;
  const value = { ArrowLeft: "left", ArrowRight: "right" }[key] ?? key;
  if (current.answers.some((answer) => answer.value === value)) give(value);
});

try {
  const { questions } = await call("api/about");
  $("count").textContent = `${questions} questions`;
} catch (problem) {
  complain(problem);
}
if (rater) { // the page was loaded again
  try {
    await show(await call(`api/question?rater=${rater}`));
  } catch {
    sessionStorage.removeItem(KEY);
    rater = null;
  }
}
