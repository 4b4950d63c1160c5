/** Figures of the received stream, from the browser's own statistics. */

/**
 * What has been received since the last call.
 *
 * `skew` is the estimated playout time of the sound less that of the picture, in milliseconds, both on the sender's
 * clock (RTP time stamps mapped by RTCP sender reports): above zero the sound is ahead. Null where the browser does not
 * tell or no report has come yet.
 */
export class ReceiverStats {
  #last = null;

  async read(connection) {
    const reports = new Map();
    let roundTrip = null;
    for (const report of (await connection.getStats()).values()) {
      if (report.type === "inbound-rtp") reports.set(report.kind, report);
      if (report.type === "candidate-pair" && report.nominated && report.currentRoundTripTime !== undefined) {
        roundTrip = report.currentRoundTripTime * 1000;
      }
    }
    const video = reports.get("video");
    const audio = reports.get("audio");
    const now = {
      time: video?.timestamp ?? performance.now(),
      frames: video?.framesDecoded ?? 0,
      dropped: video?.framesDropped ?? 0,
      lost: (video?.packetsLost ?? 0) + (audio?.packetsLost ?? 0),
    };
    const before = this.#last?.connection === connection ? this.#last.now : null;
    this.#last = { connection, now };
    const elapsed = before ? (now.time - before.time) / 1000 : 0;
    return {
      fps: elapsed > 0.2 ? (now.frames - before.frames) / elapsed : null,
      frames: now.frames,
      dropped: now.dropped,
      lost: now.lost,
      skew: skew(audio, video),
      roundTrip,
      jitterBuffer: { audio: bufferDelay(audio), video: bufferDelay(video) },
    };
  }
}

export function skew(audio, video) {
  if (!audio?.estimatedPlayoutTimestamp || !video?.estimatedPlayoutTimestamp) return null;
  const difference = audio.estimatedPlayoutTimestamp - video.estimatedPlayoutTimestamp;
  // Before both tracks have had their first sender report the two are on different clocks.
  return Math.abs(difference) < 10_000 ? difference : null;
}

/** Mean time in the jitter buffer since the start, in milliseconds. */
function bufferDelay(report) {
  return report?.jitterBufferEmittedCount ? (1000 * report.jitterBufferDelay) / report.jitterBufferEmittedCount : null;
}
