//! placeholder
use crate::options::Options;
use crate::report::Report;
use crate::Result;
pub fn run(_options: &Options, _report: &mut Report) -> Result<()> { Ok(()) }
