package meet_test

func churn(args []string) error { return nil }
