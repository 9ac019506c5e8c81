//! How fast the client decodes a stream, and whether its memory stays flat.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use serde_json::json;
use turnkeep_client::BodyDecoder;
use turnkeep_protocol::sse::Frame;

use super::sample::{Stopwatch, rounded, rss_mb};
use crate::cli::DecodeBenchArgs;
use crate::house;
use crate::verdict::Verdict;

/// Records in a batch: as many as a server has when it is not slower than its readers.
const BATCH: u64 = 100;

/// Bytes that come at once.
const PIECE: usize = 16 * 1024;

/// Batches that are written before their decoding is measured.
const BLOCK: u64 = 100;

#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    records: u64,
    records_per_s: f64,
    mb_per_s: f64,
    first_rss_mb: Option<f64>,
    last_rss_mb: Option<f64>,
}

/// Measures in a release build, which cargo makes when this is none.
pub(crate) fn bench(args: &DecodeBenchArgs) -> Result<Verdict> {
    if args.smoke || !cfg!(debug_assertions) {
        let line = run(if args.smoke { args.records.div_ceil(100) } else { args.records })?;
        println!("{}", serde_json::to_string(&line)?);
        return Ok(Verdict::Held);
    }
    let mut command = house::cargo();
    command
        .args(["run", "--quiet", "--release", "--package", "xtask", "--", "bench", "decode"])
        .current_dir(house::root());
    let status =
        command.args(["--records", &args.records.to_string()]).status().context("cargo could not be started")?;
    if !status.success() {
        bail!("the measurement ended with {status}");
    }
    Ok(Verdict::Held)
}

fn run(n_records: u64) -> Result<Line> {
    let mut decoder = BodyDecoder::new(None);
    let (mut took, mut n_bytes, mut n_parts, mut next, mut first_rss_mb) = (Duration::ZERO, 0, 0, 0, None);
    while next < n_records {
        let end = (next + BATCH * BLOCK).min(n_records);
        let body = written(next, end);
        let watch = Stopwatch::start();
        for piece in body.as_bytes().chunks(PIECE) {
            n_parts += decoder.push(piece)?.len() as u64;
        }
        took += watch.took().work;
        n_bytes += body.len();
        next = end;
        if first_rss_mb.is_none() && next * 10 >= n_records {
            first_rss_mb = rss_mb();
        }
    }
    ensure!(n_parts == n_records, "of {n_records} records {n_parts} came out");
    let spent = took.as_secs_f64().max(f64::MIN_POSITIVE);
    Ok(Line {
        name: "decode",
        records: n_records,
        records_per_s: rounded(n_records as f64 / spent),
        mb_per_s: rounded(n_bytes as f64 / 1e6 / spent),
        first_rss_mb,
        last_rss_mb: rss_mb(),
    })
}

/// Writes the batches of these records: the words of an answer, each with a part id of its own.
fn written(from: u64, to: u64) -> String {
    let record = |seq_num: u64| {
        let data = json!({ "type": "text-delta", "id": "text-0", "delta": format!(" word{}", seq_num % 1000) });
        let body = json!({ "data": data, "id": format!("p{seq_num:07x}") }).to_string();
        json!({ "body": body, "seq_num": seq_num, "timestamp": 1_700_000_000_000 + seq_num })
    };
    let batch = |first: u64| {
        let last = (first + BATCH).min(to);
        let records: Vec<_> = (first..last).map(record).collect();
        Frame::named("batch", json!({ "records": records, "tail": { "seq_num": last, "timestamp": 0 } }).to_string())
            .encode()
    };
    (from..to).step_by(BATCH as usize).map(batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_of_the_stream_is_decoded() {
        let line = run(BATCH * BLOCK + 7).unwrap();

        assert_eq!((line.name, line.records), ("decode", BATCH * BLOCK + 7));
        assert!(line.records_per_s > 0.0 && line.mb_per_s > 0.0);
    }
}
