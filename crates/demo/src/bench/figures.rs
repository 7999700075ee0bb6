//! The figures, for machines and for the eye.

use std::fmt::Write as _;

use serde::Serialize;

use crate::director::grouped;

/// The version of the names in the JSON.
pub(super) const VERSION: u32 = 1;

/// Everything that was measured. The names are described where the bench begins.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) version: u32,
    pub(super) cores: usize,
    pub(super) transfers: Vec<Width>,
    pub(super) broker_memory: Memory,
    pub(super) verify: Option<Verify>,
}

/// Transfers with so many under way.
#[derive(Debug, Serialize)]
pub(super) struct Width {
    pub(super) in_flight: u16,
    pub(super) transfers: u64,
    pub(super) failures: u64,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) max_us: u64,
    pub(super) broker_cpu_us: f64,
    pub(super) source_cpu_us: f64,
    pub(super) recipient_cpu_us: f64,
}

/// The broker's resident memory.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to the names in the JSON")]
pub(super) struct Memory {
    pub(super) rss_start_kib: u64,
    pub(super) rss_end_kib: u64,
    pub(super) peak_kib: u64,
}

/// The check of a log.
#[derive(Debug, Serialize)]
pub(super) struct Verify {
    pub(super) records: u64,
    pub(super) grants: u64,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) records_per_second: f64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_kib: u64,
}

impl Figures {
    /// A table for the eye.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "Transfers, each durable and proven before it is answered; {} cores for all parties",
            self.cores
        )?;
        let [flight, rate, p50, p99, max] = ["in flight", "transfers/s", "p50 ms", "p99 ms", "max ms"];
        writeln!(
            text,
            "{flight:>10}{rate:>14}{p50:>12}{p99:>12}{max:>12}   CPU µs a transfer: broker, source, recipient"
        )?;
        for width in &self.transfers {
            let ms = |us: u64| us as f64 / 1000.0;
            writeln!(
                text,
                "{:>10}{:>14}{:>12.2}{:>12.2}{:>12.2}   {:.0}, {:.0}, {:.0}{}",
                width.in_flight,
                grouped(width.per_second.round() as u64),
                ms(width.p50_us),
                ms(width.p99_us),
                ms(width.max_us),
                width.broker_cpu_us,
                width.source_cpu_us,
                width.recipient_cpu_us,
                if width.failures > 0 { format!("   {} FAILED", width.failures) } else { String::new() }
            )?;
        }
        let mib = |kib: u64| kib as f64 / 1024.0;
        let Memory { rss_start_kib, rss_end_kib, peak_kib } = self.broker_memory;
        writeln!(
            text,
            "\nBroker's memory: {:.0} MiB before the load, {:.0} MiB after it, {:.0} MiB at most",
            mib(rss_start_kib),
            mib(rss_end_kib),
            mib(peak_kib)
        )?;
        if let Some(verify) = &self.verify {
            writeln!(
                text,
                "`log verify`: {} records of {} grants ({} MB) in {:.1} s on one core: {} records/s, {:.0} MiB at most",
                grouped(verify.records),
                grouped(verify.grants),
                grouped(verify.bytes / 1_000_000),
                verify.seconds,
                grouped(verify.records_per_second.round() as u64),
                mib(verify.peak_kib)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_are_described() {
        let figures = Figures {
            version: VERSION,
            cores: 2,
            transfers: vec![Width {
                in_flight: 64,
                transfers: 20_000,
                failures: 0,
                seconds: 10.0,
                per_second: 2000.4,
                p50_us: 1500,
                p99_us: 9000,
                max_us: 12_000,
                broker_cpu_us: 300.0,
                source_cpu_us: 200.0,
                recipient_cpu_us: 250.0,
            }],
            broker_memory: Memory { rss_start_kib: 1024, rss_end_kib: 2048, peak_kib: 4096 },
            verify: None,
        };
        let json = serde_json::to_value(&figures).unwrap();
        let described = include_str!("mod.rs");
        for (name, value) in json.as_object().unwrap() {
            assert!(described.contains(&format!("`{name}")), "{name}");
            let inner = value.as_array().and_then(|list| list.first()).unwrap_or(value);
            for name in inner.as_object().into_iter().flat_map(serde_json::Map::keys) {
                assert!(
                    described.contains(&format!("`.{name}`")) || described.contains(&format!(".{name}`")),
                    "{name}"
                );
            }
        }
        let table = figures.table();
        assert!(table.contains("2,000") && table.contains("1.50") && !table.contains("FAILED"), "{table}");
    }
}
