//! One purpose: what data may be used for, which fields serve it, and how far that may go.

use std::{collections::BTreeMap, time::Duration};

use super::{FieldPath, PurposeCode};

/// What people read, by language: a BCP 47 tag and a short title. Every entry of a catalogue has one in each of the
/// catalogue's languages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Titles(pub(super) BTreeMap<String, String>);

/// A purpose that data may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    pub(super) code: PurposeCode,
    pub(super) iri: String,
    pub(super) titles: Titles,
    pub(super) fields: Vec<FieldPath>,
    pub(super) ceilings: Ceilings,
}

/// The most that an offer for a purpose may ask. None of them is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// How long a grant may stand.
    pub duration: Duration,
    /// How many uses it may have in all.
    pub uses: u32,
    /// How many uses it may have in a window; absent means as the uses allow.
    pub rate: Option<(u32, Duration)>,
    /// How long what was received may be kept after the end.
    pub retention: Duration,
}

/// Which ceiling an ask goes through, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverCeiling {
    /// It would stand too long.
    #[error("{} s, where the purpose allows {} s", asked.as_secs(), ceiling.as_secs())]
    Duration {
        /// What is asked.
        asked: Duration,
        /// What is allowed.
        ceiling: Duration,
    },
    /// It would have too many uses.
    #[error("{asked} uses, where the purpose allows {ceiling}")]
    Uses {
        /// What is asked.
        asked: u32,
        /// What is allowed.
        ceiling: u32,
    },
    /// It could use too often.
    #[error("too often: the purpose allows {} uses in {} s", ceiling.0, ceiling.1.as_secs())]
    Rate {
        /// What is asked; nothing if all uses could fall together.
        asked: Option<(u32, Duration)>,
        /// What is allowed.
        ceiling: (u32, Duration),
    },
    /// It would be kept too long.
    #[error("kept for {} s, where the purpose allows {} s", asked.as_secs(), ceiling.as_secs())]
    Retention {
        /// What is asked.
        asked: Duration,
        /// What is allowed.
        ceiling: Duration,
    },
}

impl Titles {
    /// The title in a language, by its exact tag.
    pub fn get(&self, language: &str) -> Option<&str> {
        self.0.get(language).map(String::as_str)
    }

    /// The title in a language, or in English, which every catalogue has.
    pub fn or_english(&self, language: &str) -> &str {
        self.get(language).or_else(|| self.get(super::ENGLISH)).unwrap_or_default()
    }

    /// All of them, by language.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(language, title)| (language.as_str(), title.as_str()))
    }
}

impl Purpose {
    /// `pickup_planning`.
    pub fn code(&self) -> &PurposeCode {
        &self.code
    }

    /// The IRI of the purpose in DPV.
    pub fn iri(&self) -> &str {
        &self.iri
    }

    /// What people read, per language.
    pub fn titles(&self) -> &Titles {
        &self.titles
    }

    /// The fields that may serve it, in the order of the document.
    pub fn fields(&self) -> &[FieldPath] {
        &self.fields
    }

    /// Whether a field may serve it.
    pub fn allows(&self, field: &FieldPath) -> bool {
        self.fields.contains(field)
    }

    /// The most that may be asked.
    pub fn ceilings(&self) -> &Ceilings {
        &self.ceilings
    }
}

impl Ceilings {
    /// Whether an ask stays below every ceiling.
    ///
    /// A rate stays below another if it allows no more uses in one window, and no more in the long run; the absence of
    /// one, if all uses together do.
    pub fn check(&self, asked: &Self) -> Result<(), OverCeiling> {
        if asked.duration > self.duration {
            return Err(OverCeiling::Duration { asked: asked.duration, ceiling: self.duration });
        }
        if asked.uses > self.uses {
            return Err(OverCeiling::Uses { asked: asked.uses, ceiling: self.uses });
        }
        if let Some(ceiling) = self.rate {
            let within = match asked.rate {
                None => asked.uses <= ceiling.0,
                Some((uses, window)) => {
                    uses <= ceiling.0
                        // Rates compared as fractions, crosswise: no rounding. 32 bits by 64 of whole seconds fit 128.
                        && u128::from(uses) * u128::from(ceiling.1.as_secs())
                            <= u128::from(ceiling.0) * u128::from(window.as_secs())
                }
            };
            if !within {
                return Err(OverCeiling::Rate { asked: asked.rate, ceiling });
            }
        }
        if asked.retention > self.retention {
            return Err(OverCeiling::Retention { asked: asked.retention, ceiling: self.retention });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const MINUTE: Duration = Duration::from_secs(60);
    const CEILINGS: Ceilings =
        Ceilings { duration: HOUR, uses: 12, rate: Some((6, MINUTE)), retention: Duration::from_secs(10) };

    fn check(asked: Ceilings, expected: Result<(), OverCeiling>) {
        assert_eq!(CEILINGS.check(&asked), expected, "{asked:?}");
    }

    #[test]
    fn each_ceiling_holds() {
        let second = Duration::from_secs(1);
        check(CEILINGS, Ok(()));
        check(
            Ceilings { duration: HOUR + second, ..CEILINGS },
            Err(OverCeiling::Duration { asked: HOUR + second, ceiling: HOUR }),
        );
        check(Ceilings { uses: 13, ..CEILINGS }, Err(OverCeiling::Uses { asked: 13, ceiling: 12 }));
        let kept = CEILINGS.retention;
        check(
            Ceilings { retention: kept + second, ..CEILINGS },
            Err(OverCeiling::Retention { asked: kept + second, ceiling: kept }),
        );
    }

    #[test]
    fn rates_are_compared_by_burst_and_by_mean() {
        let with = |uses, rate| Ceilings { uses, rate, ..CEILINGS };
        let over = |asked| Err(OverCeiling::Rate { asked, ceiling: (6, MINUTE) });
        check(with(12, Some((6, HOUR))), Ok(()));
        check(with(12, Some((1, Duration::from_secs(10)))), Ok(()));
        check(with(12, Some((2, Duration::from_secs(10)))), over(Some((2, Duration::from_secs(10)))));
        check(with(12, Some((7, HOUR))), over(Some((7, HOUR))));
        check(with(12, None), over(None));
        check(with(6, None), Ok(()));
        assert_eq!(Ceilings { rate: None, ..CEILINGS }.check(&with(12, None)), Ok(()));
    }
}
