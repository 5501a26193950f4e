package natsbus

const VerdictAccepted = byte(verdictAccepted)
