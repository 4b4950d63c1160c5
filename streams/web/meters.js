/** Figures of the received stream, from the browser's own statistics. */

/**
 * What has been received since the last call.
 *
 * `skew` is how far the sound is ahead of the picture at the ear and the eye ({@link lead}), in milliseconds, the middle
 * one of the last five readings: what `avatar bench` measures with flashes and beeps. Null where the browser does not
 * tell or no report has come yet.
 */
export class ReceiverStats {
  #last = null;
  #leads = [];

  async read(connection) {
    const reports = new Map();
    let roundTrip = null;
    for (const report of (await connection.getStats()).values()) {
      if (report.type === "inbound-rtp") reports.set(report.kind, report);
      if (report.type === "media-playout") reports.set("playout", report);
      if (report.type === "candidate-pair" && report.nominated && report.currentRoundTripTime !== undefined) {
        roundTrip = report.currentRoundTripTime * 1000;
      }
    }
    const video = reports.get("video");
    const audio = reports.get("audio");
    const now = {
      reports: Object.fromEntries(reports),
      time: video?.timestamp ?? performance.now(),
      frames: video?.framesDecoded ?? 0,
      dropped: video?.framesDropped ?? 0,
      lost: (video?.packetsLost ?? 0) + (audio?.packetsLost ?? 0),
    };
    const before = this.#last?.connection === connection ? this.#last.now : null;
    this.#last = { connection, now };
    const ahead = lead(before?.reports, now.reports);
    this.#leads = !before || ahead === null ? [] : [...this.#leads.slice(-4), ahead];
    const elapsed = before ? (now.time - before.time) / 1000 : 0;
    return {
      fps: elapsed > 0.2 ? (now.frames - before.frames) / elapsed : null,
      frames: now.frames,
      dropped: now.dropped,
      lost: now.lost,
      skew: [...this.#leads].sort((a, b) => a - b)[this.#leads.length >> 1] ?? null,
      roundTrip,
      jitterBuffer: { audio: bufferDelay(audio), video: bufferDelay(video) },
    };
  }
}

/** From the picture's leaving its decoder to the screen, about: a frame of the display. */
const DISPLAY_MS = 18;

/**
 * Milliseconds by which the sound that is heard now is ahead of the picture that is seen now, on the sender's clock (RTP
 * time stamps mapped by RTCP sender reports); null where the browser does not tell or no report has come yet.
 *
 * `before`, `now`: { audio, video, playout }, reports of `getStats` ("inbound-rtp" by kind, and "media-playout").
 */
export function lead(before, now) {
  const { audio, video, playout } = now;
  if (!audio?.estimatedPlayoutTimestamp || !video?.estimatedPlayoutTimestamp) return null;
  const difference = audio.estimatedPlayoutTimestamp - video.estimatedPlayoutTimestamp;
  // Before both tracks have had their first sender report the two are on different clocks.
  if (Math.abs(difference) > 5000) return null;
  const played = (playout?.totalSamplesCount ?? 0) - (before?.playout?.totalSamplesCount ?? 0);
  const waited = (playout?.totalPlayoutDelay ?? 0) - (before?.playout?.totalPlayoutDelay ?? 0);
  // The estimate ends where the sound enters the output device, and where the picture leaves the decoder.
  return difference - (played > 0 ? (1000 * waited) / played - DISPLAY_MS : 0);
}

/** Mean time in the jitter buffer since the start, in milliseconds. */
function bufferDelay(report) {
  return report?.jitterBufferEmittedCount ? (1000 * report.jitterBufferDelay) / report.jitterBufferEmittedCount : null;
}
