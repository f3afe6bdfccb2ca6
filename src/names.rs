//! `Named`: rows that users choose by name out of a table. Help, completion, "did you mean" and the refusal of a name come from the
//! table, and the same mistake has one exit code.

use crate::error::{Error, Result};
use formats::{Format, kernel::Arch, likeness::nearest};

/// A row of a table that has a name.
pub trait Named: Copy + Send + Sync + 'static {
    /// What a row is, in a word: `format`.
    const WHAT: &'static str;

    /// The command that lists the rows, where there are too many to name them in a hint.
    const LISTED_BY: Option<&'static str> = None;

    /// Every row, in the order that users see.
    fn all() -> Vec<Self>;

    /// What the user says.
    fn name(self) -> &'static str;

    /// Other names of the same.
    fn aliases(self) -> &'static [&'static str] {
        &[]
    }

    /// One line of help; empty where the name says it all.
    fn about(self) -> &'static str {
        ""
    }
}

/// The row of a name.
///
/// # Errors
/// When there is none; the hint has the nearest name, or all of them.
pub fn find<T: Named>(name: &str) -> Result<T> {
    let is_called = |row: &T| row.name() == name || row.aliases().contains(&name);
    T::all().into_iter().find(is_called).ok_or_else(|| {
        let names: Vec<_> = T::all().into_iter().map(T::name).collect();
        match (T::LISTED_BY, nearest(name, &names)) {
            (Some(command), Some(nearest)) => refusal(T::WHAT, name).hint(format!("did you mean '{nearest}'? see `{command}`")),
            (Some(command), None) => refusal(T::WHAT, name).hint(format!("see `{command}`")),
            (None, _) => unknown(T::WHAT, name, &names),
        }
    })
}

/// The refusal of a name that is in no table.
pub fn unknown(what: &str, name: &str, names: &[&str]) -> Error {
    let error = refusal(what, name);
    match nearest(name, names) {
        Some(nearest) => error.hint(format!("did you mean '{nearest}'?")),
        None if names.is_empty() => error,
        None => error.hint(format!("the {what}s are: {}", names.join(", "))),
    }
}

fn refusal(what: &str, name: &str) -> Error {
    Error::bad_input(format!("the {what} '{}' is unknown", name.escape_debug()))
}

/// By the names of Linux, and those of container registries.
impl Named for Arch {
    const WHAT: &'static str = "architecture";

    fn all() -> Vec<Self> {
        vec![Self::X86_64, Self::Aarch64, Self::Riscv64, Self::X86]
    }

    fn name(self) -> &'static str {
        self.name()
    }

    fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["amd64"],
            Self::Aarch64 => &["arm64"],
            Self::X86 => &["386", "i386"],
            Self::Riscv64 => &[],
        }
    }
}

/// The containers, by `qemu-img`'s names too.
impl Named for &'static dyn Format {
    const WHAT: &'static str = "format";

    fn all() -> Vec<Self> {
        formats::FORMATS.to_vec()
    }

    fn name(self) -> &'static str {
        Format::name(self)
    }

    fn aliases(self) -> &'static [&'static str] {
        Format::aliases(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Row(&'static str, &'static [&'static str]);

    impl Named for Row {
        const WHAT: &'static str = "row";

        fn all() -> Vec<Self> {
            vec![Self("qcow2", &["cow"]), Self("vhd", &["vpc"]), Self("vhdx", &[])]
        }

        fn name(self) -> &'static str {
            self.0
        }

        fn aliases(self) -> &'static [&'static str] {
            self.1
        }
    }

    #[test]
    fn rows_are_found_by_every_name() {
        assert_eq!(find::<Row>("vhdx").unwrap().0, "vhdx");
        assert_eq!(find::<Row>("vpc").unwrap().0, "vhd");
    }

    #[test]
    fn an_unknown_name_has_its_neighbour_or_all() {
        let refused = find::<Row>("qcow").unwrap_err();
        assert_eq!((refused.to_string().as_str(), refused.hint_text()), ("the row 'qcow' is unknown", Some("did you mean 'qcow2'?")));
        let refused = find::<Row>("\u{1b}[2J").unwrap_err();
        assert_eq!(refused.to_string(), "the row '\\u{1b}[2J' is unknown");
        assert_eq!(refused.hint_text(), Some("the rows are: qcow2, vhd, vhdx"));
    }
}
