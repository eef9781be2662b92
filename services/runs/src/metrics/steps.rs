//! Points without a step get the one after the last, whether they come in time or late.

use crate::run::report::SentPoint;

/// Gives each point without a step the last one + 1; `last` is the newest attempt and the greatest step so far.
pub(super) fn with_steps(points: &[SentPoint], attempt: u32, mut last: Option<(u32, i64)>) -> Vec<SentPoint> {
    let mut filled = Vec::with_capacity(points.len());
    for point in points {
        let step = point.step.unwrap_or_else(|| last.map_or(0, |(_, step)| step.saturating_add(1)));
        let greatest = match last {
            // A later attempt that begins again at a lower step supersedes what came after it.
            Some((before, greatest)) if before == attempt => greatest.max(step),
            _ => step,
        };
        last = Some((attempt, greatest));
        filled.push(SentPoint { step: Some(step), ..*point });
    }
    filled
}
