//! What was probably meant by a name that nothing has.

/// The name that was probably meant.
pub fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    /// Less likeness than this is chance.
    const LIKENESS_MIN: f64 = 0.75;
    let rated = names.iter().map(|other| (strsim::jaro(name, other), *other)).filter(|(likeness, _)| *likeness > LIKENESS_MIN);
    rated.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, nearest)| nearest)
}
