//! `POST /v1/pause` and `/v1/resume`: whether another site is followed and fed.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::ask::{self, Document};
use super::census::SiteView;
use super::error::Error;

/// Unit and its milliseconds.
const UNITS: [(&str, u64); 4] = [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// A year: longer is until it is resumed.
const PAUSE_MS_MAX: u64 = 366 * 86_400_000;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    pub site: String,
    /// Such as `6h`, after which it is resumed by itself; none is until it is resumed.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    pub site: String,
}

pub async fn pause(State(parts): State<Shared>, Document(asked): Document<Pause>) -> Result<Json<SiteView>, Error> {
    let for_ms = asked.lasts.as_deref().map(period_ms).transpose()?;
    parts.site.pause(ask::neighbour(parts.site.neighbours(), &asked.site)?, for_ms).await?;
    view(&parts, &asked.site).await
}

pub async fn resume(State(parts): State<Shared>, Document(asked): Document<Resume>) -> Result<Json<SiteView>, Error> {
    parts.site.resume(ask::neighbour(parts.site.neighbours(), &asked.site)?).await?;
    view(&parts, &asked.site).await
}

async fn view(parts: &Shared, name: &str) -> Result<Json<SiteView>, Error> {
    parts.census.forget();
    let census = parts.census.fresh(&parts.site).await?;
    let view = census.sites.iter().find(|site| site.name == name);
    Ok(Json(view.expect("the site was found by this name").clone()))
}

fn period_ms(text: &str) -> Result<u64, Error> {
    let refused =
        || Error::Bad(format!("for: found {text:?}; allowed: a length of time up to a year, such as \"30m\", \"6h\" or \"2d\""));
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (count, unit) = (text[..digits].parse::<u64>().map_err(|_| refused())?, &text[digits..]);
    let unit_ms = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?.1;
    count.checked_mul(unit_ms).filter(|ms| (1..=PAUSE_MS_MAX).contains(ms)).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_has_a_length_that_people_write() {
        for (text, ms) in [("30s", 30_000), ("5m", 300_000), ("6h", 21_600_000), ("2d", 172_800_000)] {
            assert_eq!(period_ms(text).unwrap(), ms, "{text}");
        }
        for bad in ["", "6", "h", "0s", "-1h", "1.5h", "6 parsecs", "99999999999999999999h", "367d"] {
            assert!(matches!(period_ms(bad), Err(Error::Bad(_))), "{bad}");
        }
    }
}
