# Totals of a pytest run in the form that .ci/run counts. Variables: status (pytest's), what (whose tests).
/ in [0-9.]+s/ { for (i = 2; i <= NF; i++) { word = $i; sub(",", "", word); count[word] = $(i - 1) } }
/^FAILED|^ERROR/ { printf "test %s ... FAILED\n", $2 }
END {
    failed = count["failed"] + count["errors"] + count["error"]
    if (status != 0 && failed == 0) failed = 1
    printf "test result: %s. %d passed; %d failed; %d ignored (%s)\n", status == 0 ? "ok" : "FAILED", count["passed"], failed, count["skipped"], what
}
