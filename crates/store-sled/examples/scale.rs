//! How the engine behaves with very many rows and leaves: `scale fill FOLDER GRANTS RECORDS`, then `scale open FOLDER`.
//!
//! The rows are shaped like those of a broker: each grant a row of about a kilobyte, two entries of indexes, a stream and
//! a counter; each transfer a leaf, its private part, a request id, the counter, and the ends of four streams. `open` says
//! how long opening takes; without `FOLDER/CLOSED` it includes holding sled against snapshot and journal, without
//! `FOLDER/sled` making it anew.

use std::path::Path;

use countersign_store::{Batch, Leaf, RequestRow, Store};
use countersign_store_sled::{Options, SledStore};
use tokio::time::Instant;

/// Units in a commit.
const UNITS: u64 = 256;

/// Transfers in an hour of request rows.
const TRANSFERS_AN_HOUR: u64 = 200_000;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", folder, grants, records] => {
            let (grants, records) = (grants.parse().expect("a number"), records.parse().expect("a number"));
            fill(folder.as_ref(), grants, records).await;
        }
        ["open", folder] => open(folder.as_ref()).await,
        _ => eprintln!("scale fill FOLDER GRANTS RECORDS | scale open FOLDER"),
    }
}

/// Numbers that look random and are the same each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Two thirds of noise, like signatures and hashes; one third of text.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 24);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
            bytes.extend_from_slice(&self.next().to_le_bytes());
            bytes.extend_from_slice(b"partners");
        }
        bytes.truncate(length);
        bytes
    }
}

fn name(grant: u64) -> String {
    let mut noise = Noise(grant);
    format!("{:016x}{:016x}{:016x}{:016x}", noise.next(), noise.next(), noise.next(), noise.next())
}

async fn fill(folder: &Path, grants: u64, records: u64) {
    let begun = Instant::now();
    let store = SledStore::open(folder, Options::default()).await.expect("opens");
    let mut noise = Noise(7);
    let mut done = 0;
    while done < records {
        let mut batch = Batch::default();
        for unit in done..records.min(done + UNITS) {
            let grant = if unit < grants { unit } else { noise.next() % grants };
            let id = name(grant);
            batch.leaves.push(Leaf { record: noise.bytes(350).into(), private: noise.bytes(900).into() });
            if unit < grants {
                batch.puts.push((format!("b/grants/{id}").into(), noise.bytes(950).into()));
                batch.puts.push((format!("b/of-customer/{}/{id}", &id[..32]).into(), vec![1].into()));
                batch.puts.push((format!("b/of-pair/{}/{id}", &id[32..]).into(), vec![1].into()));
            } else {
                batch.puts.push((format!("c/{id}").into(), noise.bytes(8).into()));
                let (key, hour) = (id.clone().into_bytes(), unit / TRANSFERS_AN_HOUR);
                batch.requests.push(RequestRow {
                    key: [&key[..], &unit.to_le_bytes()].concat(),
                    hour,
                    value: noise.bytes(120).into(),
                });
            }
            batch.puts.push((format!("s/grants/{id}t").into(), noise.bytes(20).into()));
            batch.puts.push((format!("s/customers/{}t", &id[..43]).into(), noise.bytes(40).into()));
            for partner in [grant % 3, 3 + grant % 3] {
                batch.puts.push((format!("s/partners/{partner}t").into(), noise.bytes(300).into()));
            }
        }
        done += batch.leaves.len() as u64;
        store.commit(store.head(), batch).await.expect("commits");
        if done.is_multiple_of(UNITS * 400) {
            println!("{done} records after {:?}; {}", begun.elapsed(), memory());
        }
    }
    let filled = begun.elapsed();
    println!("{} records/s; {}", done as f64 / filled.as_secs_f64(), memory());
    store.close().await.expect("closes");
    println!("closed after {:?}", begun.elapsed().checked_sub(filled).unwrap_or_default());
}

async fn open(folder: &Path) {
    let begun = Instant::now();
    let store = SledStore::open(folder, Options::default()).await.expect("opens");
    println!("opened in {:?}; {}; {:?}", begun.elapsed(), memory(), store.head());
    let begun = Instant::now();
    let mut found = 0;
    for grant in 0..20_000 {
        let key = format!("b/grants/{}", name(grant * 49));
        found += u32::from(store.get(key.as_bytes()).await.expect("reads").is_some());
    }
    println!("{:.1} µs a read of 20,000, {found} found; {}", begun.elapsed().as_secs_f64() / 0.02, memory());
    let begun = Instant::now();
    for _ in 0..20_000 {
        tokio::task::spawn_blocking(|| ()).await.expect("runs");
    }
    println!("{:.1} µs to have another thread do nothing", begun.elapsed().as_secs_f64() / 0.02);
    let begun = Instant::now();
    store.close().await.expect("closes");
    println!("closed in {:?}", begun.elapsed());
}

/// What the process takes and has taken of memory, as Linux says.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    [line("VmRSS"), line("VmHWM")].join(", ")
}
