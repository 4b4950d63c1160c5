/**
 * Measures what a viewer gets. Not loaded by the page itself: `avatar.testing.browser` imports it into the page.
 *
 * All times are milliseconds on `performance.now()`.
 */

const FIELDS = 12;
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Call `take(metadata)` for each picture that the compositor gets, until the returned function is called. */
function watch(video, take) {
  let going = true;
  const next = (_, metadata) => {
    if (!going) return;
    take(metadata);
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
  return () => (going = false);
}

async function inbound(connection) {
  const found = {};
  for (const report of (await connection.getStats()).values()) {
    if (report.type === "inbound-rtp") found[report.kind] = report;
    if (report.type === "media-playout") found.playout = report;
    if (report.type === "candidate-pair" && report.nominated) found.pair = report;
  }
  return found;
}

/** How far the sound is ahead of the picture by the sender's reports, in milliseconds; null where they do not say. */
function skewOf(reports) {
  const [audio, picture] = [reports.audio?.estimatedPlayoutTimestamp, reports.video?.estimatedPlayoutTimestamp];
  return audio && picture && Math.abs(audio - picture) < 10_000 ? audio - picture : null;
}

/** The mean of a sum that the browser counts, between two reports, in milliseconds. */
function mean(before, after, total, count) {
  const items = (after?.[count] ?? 0) - (before?.[count] ?? 0);
  return items > 0 ? (1000 * (after[total] - (before?.[total] ?? 0))) / items : null;
}

/**
 * Watch the stream for some seconds.
 *
 * `frames`: [presentation time, number of pictures presented so far] for each callback. `skew`: sound less picture, from
 * `estimatedPlayoutTimestamp` of both, ten times a second; above zero the sound is ahead.
 */
export async function measure(connection, video, seconds) {
  const frames = [];
  const skew = [];
  const before = await inbound(connection);
  const start = performance.now();
  const stop = watch(video, (m) => frames.push([m.presentationTime, m.presentedFrames]));
  let now = before;
  for (let tick = 1; performance.now() - start < 1000 * seconds; tick++) {
    await wait(Math.max(0, start + 100 * tick - performance.now()));
    now = await inbound(connection);
    const ahead = skewOf(now);
    if (ahead !== null) skew.push(ahead);
  }
  stop();
  const gain = (kind, key) => (now[kind]?.[key] ?? 0) - (before[kind]?.[key] ?? 0);
  return {
    seconds: (performance.now() - start) / 1000,
    frames,
    skew,
    frames_decoded: gain("video", "framesDecoded"),
    frames_dropped: gain("video", "framesDropped"),
    packets_received: gain("video", "packetsReceived") + gain("audio", "packetsReceived"),
    packets_lost: gain("video", "packetsLost") + gain("audio", "packetsLost"),
    concealed_ms: (1000 * (gain("audio", "concealedSamples") - gain("audio", "silentConcealedSamples"))) / 48_000,
    jitter_buffer_ms: {
      audio: mean(before.audio, now.audio, "jitterBufferDelay", "jitterBufferEmittedCount"),
      video: mean(before.video, now.video, "jitterBufferDelay", "jitterBufferEmittedCount"),
    },
    decode_ms: mean(before.video, now.video, "totalDecodeTime", "framesDecoded"),
    playout_ms: mean(before.playout, now.playout, "totalPlayoutDelay", "totalSamplesCount"),
    round_trip_ms: 1000 * (now.pair?.currentRoundTripTime ?? 0),
    width: now.video?.frameWidth ?? 0,
    height: now.video?.frameHeight ?? 0,
  };
}

/**
 * Record brightness and loudness as they reach the viewer.
 *
 * `video`: [time the picture is expected on the screen, luminance 0-255 of 12 x 12 fields of `region`];
 * region is [left, top, width, height] in parts of the picture. `audio`: [time of a block's first sample, peak 0-1 of
 * each of its milliseconds], timed where it leaves Chromium's jitter buffer; `playout_ms` later (Chromium's own account
 * of its output path, the device included) it is heard. `buffers`: twice a second [time, mean delay in the jitter
 * buffer of the sound and of the picture, playout delay, skew by the sender's reports], milliseconds. The sound is tapped at the track, not through WebAudio, whose
 * extra buffer no listener of the page hears.
 */
export async function events(connection, video, seconds, region) {
  const track = video.srcObject.getAudioTracks()[0].clone();
  const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
  const blocks = [];
  const listening = (async () => {
    for (;;) {
      const { value: data, done } = await reader.read();
      if (done) return;
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      const step = Math.round(data.sampleRate / 1000);
      const peaks = [];
      for (let from = 0; from < samples.length; from += step) {
        let peak = 0;
        for (let i = from; i < Math.min(from + step, samples.length); i++) peak = Math.max(peak, Math.abs(samples[i]));
        peaks.push(peak);
      }
      blocks.push([data.timestamp / 1000, peaks]);
      data.close();
    }
  })();

  const shown = new Map();
  const lights = new Map();
  const canvas = new OffscreenCanvas(FIELDS, FIELDS).getContext("2d", { willReadFrequently: true });
  const [left, top, width, height] = region;
  const before = await inbound(connection);
  const stop = watch(video, (metadata) => {
    shown.set(Math.round(metadata.mediaTime * 1000), metadata.expectedDisplayTime);
    // The element may hold a newer picture than the one that this call is about: each says its own time.
    const frame = new VideoFrame(video);
    const [w, h] = [frame.displayWidth, frame.displayHeight];
    canvas.drawImage(frame, left * w, top * h, width * w, height * h, 0, 0, FIELDS, FIELDS);
    const mediaTime = Math.round(frame.timestamp / 1000);
    frame.close();
    const { data } = canvas.getImageData(0, 0, FIELDS, FIELDS);
    const light = [];
    for (let i = 0; i < data.length; i += 4) light.push(Math.round(0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]));
    lights.set(mediaTime, light);
  });
  const buffers = [];
  const start = performance.now();
  let last = before;
  for (let tick = 1; performance.now() - start < 1000 * seconds; tick++) {
    await wait(Math.max(0, start + 500 * tick - performance.now()));
    const now = await inbound(connection);
    const delays = ["audio", "video"].map((kind) => mean(last[kind], now[kind], "jitterBufferDelay", "jitterBufferEmittedCount"));
    buffers.push([performance.now(), ...delays, mean(last.playout, now.playout, "totalPlayoutDelay", "totalSamplesCount"), skewOf(now)]);
    last = now;
  }
  stop();
  track.stop();
  await reader.cancel();
  await listening;
  const after = await inbound(connection);
  const pictures = [...lights].filter(([time]) => shown.has(time)).map(([time, light]) => [shown.get(time), light]);
  const playout = mean(before.playout, after.playout, "totalPlayoutDelay", "totalSamplesCount");
  const gain = (kind, key) => (after[kind]?.[key] ?? 0) - (before[kind]?.[key] ?? 0);
  return {
    video: pictures,
    audio: blocks,
    playout_ms: playout ?? 0,
    buffers,
    seen: shown.size,
    freezes: gain("video", "freezeCount"),
    concealed_ms: (1000 * (gain("audio", "concealedSamples") - gain("audio", "silentConcealedSamples"))) / 48_000,
    packets_lost: { audio: gain("audio", "packetsLost"), video: gain("video", "packetsLost") },
  };
}
