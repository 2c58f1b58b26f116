JAR=$(mktemp)
echo "log in:"; curl -s -c "$JAR" --data-urlencode "uid=$NAME" --data-urlencode "pw=$PASSWORD" "$BASE"'/beta-latest/api/!login'; echo
echo "use the session (let in, to find no such call):"; curl -s -b "$JAR" "$BASE"'/beta-latest/api/!session'; echo
echo "log out:"; curl -s -b "$JAR" -X POST "$BASE"'/beta-latest/api/!logout'; echo
echo "refused:"; curl -s -b "$JAR" -X POST "$BASE"'/beta-latest/api/!logout'; echo
rm "$JAR"
