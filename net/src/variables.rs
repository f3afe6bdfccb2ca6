//! The variables of the environment.

/// A variable of the environment by its name; an empty one is none. Tests hand in their own.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<std::ffi::OsString>;

/// The variables of this process.
pub fn process_variables(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
