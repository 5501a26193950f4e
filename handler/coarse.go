package handler

// coarseUnit is the unit of a coarse time, as a power of two of nanoseconds: about 17 ms.
const coarseUnit = 24

// coarse is the lower part of a time by the clock of the connection. Its 32 bits fit between other
// fields: an idle client consists of little else.
type coarse uint32

// coarseTime rounds up, so that no timeout comes too early.
func coarseTime(at int64) coarse { return coarse((at + 1<<coarseUnit - 1) >> coarseUnit) }

// near returns the time, which must be less than a year before or after at.
func (c coarse) near(at int64) int64 {
	units := at >> coarseUnit
	return (units - int64(int32(coarse(units)-c))) << coarseUnit
}
