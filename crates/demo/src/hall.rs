//! Broker and brands for another program, which plays the person: a browser's tests, or somebody's own. It writes a command
//! a line to the standard input and reads answers and events, a line each, from the standard output. Everything ends when
//! its input does.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Stdout, stdin, stdout};

use crate::{
    control::{Answer, Command, Event, decode, encode},
    journey::{BRANDS, Brand},
    signals::interrupted,
    stage::{Folder, Setting, Stage, refusal, with_companion},
};

/// Where.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An absent or empty folder to work in, which stays. Without it, a temporary one.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// A command for one brand, with the number under which it is answered.
#[derive(Debug, PartialEq, Deserialize)]
struct Asked {
    id: u64,
    brand: Brand,
    command: Command,
}

/// What is said.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The first line: everything runs.
    Ready {
        /// Where the companion is. A name and no number, since passkeys belong to a name.
        app: String,
        /// The broker file.
        broker: PathBuf,
        /// The offers, by the number of their row.
        offers: BTreeMap<u8, String>,
    },
    /// The answer to a command.
    Answer { id: u64, answer: Answer },
    /// Something that happened at a brand by itself.
    Event { brand: Brand, event: Event },
}

/// Sets the stage and does as it is told, until the input ends.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let folder = Folder::open(arguments.data.as_deref(), false)?;
    let mut stage = Stage::set(folder, Setting { brands: &BRANDS, environment: with_companion() }).await?;
    let mut out = stdout();
    let ready = Line::Ready {
        app: stage.app_address(),
        broker: stage.folder.broker_file(),
        offers: stage.offers.clone(),
    };
    say(&mut out, &ready).await?;
    let mut input = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            line = input.next_line() => {
                let Some(line) = line? else { break };
                let Asked { id, brand, command } =
                    decode(&line).with_context(|| format!("the command `{line}`"))?;
                let answer = answer(&stage, brand, command).await;
                say(&mut out, &Line::Answer { id, answer }).await?;
            }
            Some((brand, event)) = stage.events.recv() => say(&mut out, &Line::Event { brand, event }).await?,
            () = interrupted() => break,
        }
    }
    stage.close().await?;
    Ok(())
}

async fn answer(stage: &Stage, brand: Brand, command: Command) -> Answer {
    let asked = async { stage.brand(brand)?.ask(command).await };
    asked.await.unwrap_or_else(|error| match refusal(&error) {
        Some(reason) => Answer::Refused { reason: reason.to_owned(), message: error.to_string() },
        None => Answer::Failed { error: format!("{error:#}") },
    })
}

async fn say(out: &mut Stdout, line: &Line) -> Result<()> {
    out.write_all(encode(line).as_bytes()).await?;
    Ok(out.flush().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_its_brand() {
        let asked: Asked =
            decode(r#"{"id":1,"brand":"skylark","command":{"invite":{"label":"Mei","flight":"B6 35"}}}"#)
                .unwrap();
        let command =
            Command::Invite { label: "Mei".into(), flight: Some("B6 35".into()), return_address: None };
        assert_eq!(asked, Asked { id: 1, brand: Brand::Skylark, command });
        let event = Event::EraseDue { grant: "g".into() };
        assert_eq!(
            encode(&Line::Event { brand: Brand::Hopp, event }),
            "{\"event\":{\"brand\":\"hopp\",\"event\":{\"erase_due\":{\"grant\":\"g\"}}}}\n"
        );
    }
}
