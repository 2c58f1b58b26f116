SERVICE=axxonsoft.bl.auth.AuthenticationService
JSON='Content-Type: application/json'
echo "log in:"; ANSWER=$(curl -s -u "$NAME:$PASSWORD" -H "$JSON" "$BASE/grpc" -d "{\"method\": \"$SERVICE.AuthenticateEx\", \"data\": {\"user_name\": \"$NAME\", \"password\": \"$PASSWORD\"}}"); echo "$ANSWER"
TOKEN=$(echo "$ANSWER" | sed -n 's/.*"token_value": *"\([^"]*\)".*/\1/p')
echo "use the session:"; curl -s -H "Authorization: Bearer $TOKEN" -H "$JSON" "$BASE/grpc" -d "{\"method\": \"$SERVICE.RenewSession\", \"data\": {}}"; echo
echo "log out:"; curl -s -H "Authorization: Bearer $TOKEN" -H "$JSON" "$BASE/grpc" -d "{\"method\": \"$SERVICE.CloseSession\", \"data\": {}}"; echo
echo "refused:"; curl -s -i -H "Authorization: Bearer $TOKEN" -H "$JSON" "$BASE/grpc" -d "{\"method\": \"$SERVICE.RenewSession\", \"data\": {}}" | sed -n '1p;$p'; echo
