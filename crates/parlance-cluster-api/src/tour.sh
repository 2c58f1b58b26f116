echo "log in:"; ANSWER=$(curl -s --data-urlencode "username=$NAME" --data-urlencode "password=$PASSWORD" "$BASE/api/login"); echo "$ANSWER"
TOKEN=$(echo "$ANSWER" | sed -n 's/.*"access_token": "\([A-Z]*\)".*/\1/p')
echo "use the session:"; curl -s -d "access_token=$TOKEN" "$BASE/api/login"; echo
echo "log out:"; curl -s -d "access_token=$TOKEN" "$BASE/api/logout"; echo
echo "refused:"; curl -s -d "access_token=$TOKEN" "$BASE/api/logout"; echo
